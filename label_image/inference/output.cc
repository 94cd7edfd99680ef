#include "inference/output.h"

#include <algorithm>
#include <cmath>

#include "error.h"
#include "half.h"

namespace label_image {
namespace {

constexpr int64_t kMaxClasses = 100000;
constexpr double kSumTolerance = 1e-3;  // float16 included

constexpr const char* kKinds[] = {"", "logits", "softmax", "sigmoid", "raw"};

bool Contains(std::string_view words, std::string_view word) {
  return words.find(Concat(' ', word, ' ')) != words.npos;
}

// A layer without an activation.
bool IsLinear(std::string_view op) {
  return Contains(" MatMul BatchMatMul BatchMatMulV2 BiasAdd BiasAddV1 Add AddV2 Conv2D ", op);
}

// Other arithmetic: may end a hand-written softmax or sigmoid.
bool IsArithmetic(std::string_view op) {
  return Contains(" Sub Mul RealDiv Div AddN Neg Mean Sum AvgPool FusedBatchNorm FusedBatchNormV2 "
                  "FusedBatchNormV3 ConcatV2 Pack OneHot Dequantize ", op);
}

void Softmax(float* logits, size_t count) {
  const double max = *std::max_element(logits, logits + count);
  double sum = 0;
  for (size_t i = 0; i < count; ++i) sum += std::exp(logits[i] - max);
  for (size_t i = 0; i < count; ++i) {
    logits[i] = static_cast<float>(std::exp(logits[i] - max) / sum);
  }
}

bool AreFractions(const std::vector<float>& values) {
  return std::all_of(values.begin(), values.end(), [](float value) {
    return value > -1e-6f && value < 1 + 1e-6f;
  });
}

bool RowsSumToOne(const std::vector<float>& values, size_t columns,
                  double tolerance = kSumTolerance) {
  for (size_t i = 0; i < values.size(); i += columns) {
    double sum = 0;
    for (size_t j = 0; j < columns; ++j) sum += values[i + j];
    if (std::abs(sum - 1) > tolerance) return false;
  }
  return true;
}

// Return how far from 1 a row of a softmax may sum. In TensorFlow Lite, an int8 softmax returns
// multiples of 1/256, each rounded, of which the highest is 255/256.
double SoftmaxTolerance(const std::vector<float>& values, size_t columns) {
  const bool quantized = std::all_of(values.begin(), values.end(), [](float value) {
    return value * 256 == std::floor(value * 256);
  });
  return quantized ? (columns / 2. + 1) / 256 : kSumTolerance;
}

}  // namespace

Output::Output(const std::string& path, const Nodes& nodes, const std::string& source_op,
               const std::string& kind)
    : path_(path), node_(nodes.output), source_op_(source_op),
      exported_(nodes.own && source_op.empty()) {
  const auto named = std::find(std::begin(kKinds), std::end(kKinds), kind);
  if (named == std::end(kKinds)) {
    throw UsageError("--output_kind must be logits, softmax, sigmoid or raw, not " + Quote(kind));
  }
  kind_ = static_cast<OutputKind>(named - std::begin(kKinds));
  if (!kind.empty()) return;
  if (source_op_ == "Softmax") kind_ = OutputKind::kSoftmax;
  if (source_op_ == "Sigmoid") kind_ = OutputKind::kSigmoid;
  if (source_op_ == "LogSoftmax") kind_ = OutputKind::kLogits;  // of which softmax is the inverse
  if (kind_ == OutputKind::kUnknown && nodes.own && node_ == "predictions") {
    kind_ = OutputKind::kLogits;
  }
}

std::vector<float> Output::Values(const Tensor& tensor, int64_t count) const {
  const Shape& shape = tensor.shape;
  int64_t columns = 1, wide = 0;
  for (size_t i = 1; i < shape.size(); ++i) {  // [N, 1, 1, classes] is as good as [N, classes]
    columns *= shape[i];
    wide += shape[i] != 1;
  }
  const int type = tensor.type;
  if (shape.size() < 2 || shape[0] != count || wide > 1 || columns < 1 || columns > kMaxClasses ||
      (type != kFloat && type != kDouble && type != kHalf)) {
    throw Error(path_, ": node ", Quote(node_), " returns ", TypeName(type), " ", ShapeText(shape),
                " for ", count, count == 1 ? " image" : " images",
                ", not a row of floats for each");
  }
  const size_t size = count * columns;
  if (type == kFloat) {
    const auto* values = static_cast<const float*>(tensor.data);
    return {values, values + size};
  }
  std::vector<float> floats(size);
  if (type == kHalf) {
    const auto* values = static_cast<const uint16_t*>(tensor.data);
    std::transform(values, values + size, floats.begin(), FromHalf);
    return floats;
  }
  const auto* values = static_cast<const double*>(tensor.data);
  std::transform(values, values + size, floats.begin(),
                 [](double value) { return static_cast<float>(value); });
  return floats;
}

void Output::Decide(const std::vector<float>& values) {
  const bool fractions = AreFractions(values);
  if (columns_ > 1 && fractions && RowsSumToOne(values, columns_)) {
    kind_ = OutputKind::kSoftmax;
  } else if (columns_ > 1 && (IsLinear(source_op_) || (IsArithmetic(source_op_) && !fractions) ||
                              (exported_ && !fractions))) {
    kind_ = OutputKind::kLogits;
  } else {
    throw UsageError(path_, " does not say what its output ", Quote(node_), " means, ", columns_,
                     columns_ == 1 ? " number" : " numbers",
                     source_op_.empty() ? "" : " by " + OneLine(source_op_, 50),
                     ": give --output_kind logits, softmax, sigmoid or raw");
  }
}

void Output::Check(const std::vector<float>& values) const {
  if (kind_ == OutputKind::kSoftmax && columns_ == 1) {
    throw Error(path_, ": node ", Quote(node_), " is a softmax of one column, which is always 1");
  }
  const bool probabilities = kind_ == OutputKind::kSoftmax || kind_ == OutputKind::kSigmoid;
  if ((probabilities && !AreFractions(values)) ||
      (kind_ == OutputKind::kSoftmax &&
       !RowsSumToOne(values, columns_, SoftmaxTolerance(values, columns_)))) {
    throw Error(path_, ": node ", Quote(node_), " does not return probabilities ",
                kind_ == OutputKind::kSoftmax ? "that sum to 1" : "from 0 to 1",
                ": give another --output_kind");
  }
}

Probabilities Output::Read(const Tensor& tensor, int64_t count) {
  std::vector<float> values = Values(tensor, count);
  const size_t columns = values.size() / count;
  if (columns_ && columns != columns_) {  // a row may depend on the batch: x * transpose(x)
    throw Error(path_, ": node ", Quote(node_), " returns rows of ", columns_, " numbers, then of ",
                columns);
  }
  columns_ = columns;
  for (size_t i = 0; i < values.size(); ++i) {
    if (std::isfinite(values[i])) continue;
    throw Error(path_, ": node ", Quote(node_), " returns ",
                std::isnan(values[i]) ? "NaN" : "infinity", " (column ", i % columns_,
                "): its weights or the preprocessing are wrong");
  }
  if (kind_ == OutputKind::kUnknown) Decide(values);
  Check(values);
  if (columns_ == 1 && kind_ != OutputKind::kRaw) {
    Probabilities binary = {2, {}};
    for (double value : values) {
      if (kind_ == OutputKind::kLogits) value = 1 / (1 + std::exp(-value));
      value = std::clamp(value, 0., 1.);
      binary.values.push_back(static_cast<float>(1 - value));
      binary.values.push_back(static_cast<float>(value));
    }
    return binary;
  }
  Probabilities probabilities = {columns_, std::move(values)};
  for (int64_t i = 0; i < count && kind_ == OutputKind::kLogits; ++i) {
    Softmax(&probabilities.values[i * columns_], columns_);
  }
  return probabilities;
}

std::string Output::kind_name() const { return kKinds[static_cast<int>(kind_)]; }

std::string Output::Describe() const {
  const char* text = "numbers as the graph gives them";
  if (kind_ == OutputKind::kLogits) {
    text = columns_ == 1 ? "a sigmoid makes it the probability of the second class"
                         : "a softmax makes probabilities of them";
  } else if (kind_ == OutputKind::kSoftmax) {
    text = "probabilities as the graph gives them";
  } else if (kind_ == OutputKind::kSigmoid) {
    text = columns_ == 1 ? "the probability of the second class, as the graph gives it"
                         : "a probability for each class on its own, as the graph gives them";
  }
  return Concat(OneLine(node_, 100), ", ", kind_name(), ": ", text);
}

}  // namespace label_image
