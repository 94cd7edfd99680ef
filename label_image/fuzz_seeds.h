// What the fuzzer damages.

#ifndef LABEL_IMAGE_FUZZ_SEEDS_H_
#define LABEL_IMAGE_FUZZ_SEEDS_H_

#include <string>
#include <vector>

namespace label_image {

// PNG, JPEG and BMP files of every kind of pixel, JPEG also with EXIF data.
std::vector<std::string> SeedImages();

// `count` records of a batch file, with images of that side.
std::string SeedRecords(int count, int side);

// A small GraphDef with everything that our reader looks at.
std::string SeedGraph();

// A RunMetadata with the times of two operations.
std::string SeedProfile();

}  // namespace label_image

#endif  // LABEL_IMAGE_FUZZ_SEEDS_H_
