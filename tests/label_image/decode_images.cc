// Decodes image files with label_image's decoders, so that tests can compare pixels.
//
// usage: decode_images < PATHS: for each path a line "WIDTH HEIGHT" and the pixels, or "- REASON".

#include <iostream>
#include <string>

#include "error.h"
#include "file.h"
#include "images/image.h"

int main() {
  std::string path;
  while (std::getline(std::cin, path)) {
    try {
      const label_image::Image image = label_image::Decode(label_image::ReadFile(path));
      std::cout << image.width << ' ' << image.height << '\n';
      std::cout.write(reinterpret_cast<const char*>(image.pixels.data()), image.pixels.size());
    } catch (const label_image::Error& error) {
      std::cout << "- " << error.what() << '\n';
    }
  }
}
