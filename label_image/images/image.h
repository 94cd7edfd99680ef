// RGB images: decoded from a file, cropped to a shape, resized.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace label_image {

struct Image {
  int width = 0, height = 0;
  std::vector<uint8_t> pixels;  // RGB, row-major [height, width, 3]
};

// Throw Error if a side is not positive or the image has more than 100 megapixels. No photograph is
// larger; a file that claims to be is damaged or an attack.
void CheckSize(int64_t width, int64_t height);

// Decode a PNG, JPEG or BMP file: grey and palette images are expanded, CMYK is converted, 16 bits
// are cut to 8, transparency is ignored, and a JPEG is turned as its EXIF data says. Throws Error
// if the file has another format, is damaged, or is too large; see CheckSize. Python's
// permafrost/datasets/images has the same rules, so that a network is tested on what it was trained
// on; tests compare the two.
Image Decode(std::string_view file);
Image DecodePng(std::string_view file);
Image DecodeJpeg(std::string_view file);
Image DecodeBmp(std::string_view file);

// Return the largest part in the middle that has the shape `height` x `width`. If it cannot be
// centred, it is half a pixel further up or left.
Image Crop(const Image& image, int height, int width);

// Return the image in this size. An image of that size is returned unchanged. Others are resized
// with linear interpolation and antialiasing, as Pillow's BILINEAR does.
Image Resize(const Image& image, int height, int width);

}  // namespace label_image
