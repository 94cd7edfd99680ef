// How a camera was held, from the EXIF data that it put into a photo.

#ifndef LABEL_IMAGE_EXIF_H_
#define LABEL_IMAGE_EXIF_H_

#include <string_view>

#include "image.h"

namespace label_image {

// The tag Orientation, 1 to 8, of a block of EXIF data ("Exif\0\0" left out). 1, which is upright,
// where it has none or is damaged: viewers show such photos as they are stored.
int Orientation(std::string_view exif);

// The image as a viewer shows one of that orientation; width and height change places from 5 on.
Image Upright(Image image, int orientation);

}  // namespace label_image

#endif  // LABEL_IMAGE_EXIF_H_
