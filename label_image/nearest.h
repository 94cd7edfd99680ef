// The likeliest meaning of a misspelt name.

#ifndef LABEL_IMAGE_NEAREST_H_
#define LABEL_IMAGE_NEAREST_H_

#include <algorithm>
#include <numeric>
#include <string>
#include <string_view>
#include <vector>

namespace label_image {

// "; did you mean X?" for the closest of `names`, or "" where none is close.
inline std::string DidYouMean(std::string_view wrong, const std::vector<std::string>& names) {
  const std::string* best = nullptr;
  size_t least = (wrong.size() + 2) / 3 + 1;
  if (wrong.size() > 100) return "";
  for (const std::string& name : names) {
    if (name.size() > 100) continue;
    std::vector<size_t> row(name.size() + 1);  // Levenshtein's distances
    std::iota(row.begin(), row.end(), 0);
    for (size_t i = 0; i < wrong.size(); ++i) {
      size_t diagonal = row[0]++;
      for (size_t j = 0; j < name.size(); ++j) {
        const size_t replaced = diagonal + (wrong[i] != name[j]);
        diagonal = row[j + 1];
        row[j + 1] = std::min({replaced, row[j] + 1, row[j + 1] + 1});
      }
    }
    if (row.back() < least) {
      least = row.back();
      best = &name;
    }
  }
  return best ? "; did you mean " + *best + "?" : "";
}

}  // namespace label_image

#endif  // LABEL_IMAGE_NEAREST_H_
