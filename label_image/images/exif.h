// The orientation of a photo, from the EXIF data that the camera wrote.
#pragma once

#include <string_view>

#include "images/image.h"

namespace label_image {

// Return the tag Orientation, 1 to 8, of EXIF data (without the leading "Exif\0\0"). Returns 1,
// which is upright, if the tag is missing or damaged: viewers show such photos unchanged.
int Orientation(std::string_view exif);

// Return the image as a viewer shows it. Orientations from 5 on swap width and height.
Image Upright(Image image, int orientation);

}  // namespace label_image
