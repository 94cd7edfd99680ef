// The meaning of the numbers that a graph returns: probabilities, or what becomes of them.
#pragma once

#include <string>
#include <vector>

#include "backends/backend.h"
#include "inference/nodes.h"

namespace label_image {

enum class OutputKind {
  kUnknown,  // decided by the first values
  kLogits,   // softmax makes probabilities of them; of one column, a sigmoid
  kSoftmax,  // probabilities that sum to 1, to be used as they are
  kSigmoid,  // a probability for each class on its own; one column is that of the second class
  kRaw,      // numbers to print as they are: the largest is the answer
};

// A row of numbers for each image, float [images, classes].
struct Probabilities {
  size_t classes = 0;
  std::vector<float> values;

  const float* row(size_t image) const { return &values[image * classes]; }
};

class Output {
 public:
  // `path` names the file in messages, and `source_op` is the operation that computes the output.
  // `kind` is "", or logits, softmax, sigmoid or raw. "": what the graph's last operation says,
  // else its first values, where these leave no doubt. Throws UsageError for another kind.
  Output(const std::string& path, const Nodes& nodes, const std::string& source_op,
         const std::string& kind);

  OutputKind kind() const { return kind_; }
  std::string kind_name() const;  // "" if it is unknown

  // Return what the tensor that the graph computed from `count` images means. One column becomes
  // the probabilities of two classes. Throws Error if it has no row of finite numbers for each
  // image, or if these cannot be of their kind; UsageError if their kind must be stated.
  Probabilities Read(const Tensor& tensor, int64_t count);

  // Return e.g. "y, softmax: probabilities as the graph gives them", after the first Read.
  std::string Describe() const;

 private:
  std::vector<float> Values(const Tensor& tensor, int64_t count) const;
  void Decide(const std::vector<float>& values);
  void Check(const std::vector<float>& values) const;

  const std::string path_, node_, source_op_;
  // Named as what freeze_graph.py exports, which returns logits, in a runtime that names no
  // operation.
  const bool exported_;
  OutputKind kind_ = OutputKind::kUnknown;
  size_t columns_ = 0;
};

}  // namespace label_image
