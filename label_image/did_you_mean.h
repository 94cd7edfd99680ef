// A suggestion for a misspelt name.
#pragma once

#include <algorithm>
#include <numeric>
#include <string>
#include <string_view>
#include <vector>

namespace label_image {

// Return "; did you mean X?" for the name that is closest to `misspelt` by edit distance, or "" if
// no name is close.
inline std::string DidYouMean(std::string_view misspelt, const std::vector<std::string>& names) {
  if (misspelt.size() > 100) return "";
  const std::string* closest = nullptr;
  size_t min_distance = (misspelt.size() + 2) / 3 + 1;
  for (const std::string& name : names) {
    std::vector<size_t> row(name.size() + 1);  // of the table of Levenshtein distances
    std::iota(row.begin(), row.end(), 0);
    for (size_t i = 0; i < misspelt.size(); ++i) {
      size_t diagonal = row[0]++;
      for (size_t j = 0; j < name.size(); ++j) {
        const size_t replaced = diagonal + (misspelt[i] != name[j]);
        diagonal = row[j + 1];
        row[j + 1] = std::min({replaced, row[j] + 1, row[j + 1] + 1});
      }
    }
    if (row.back() < min_distance) {
      min_distance = row.back();
      closest = &name;
    }
  }
  return closest ? "; did you mean " + *closest + "?" : "";
}

}  // namespace label_image
