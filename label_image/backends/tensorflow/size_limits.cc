#include "backends/tensorflow/size_limits.h"

#include <algorithm>

#include "error.h"
#include "graph/allowed_ops.h"

namespace label_image {
namespace {

// A number that stays at a maximum far above all limits.
class Bounded {
 public:
  Bounded(int64_t value) : value_(value) {}  // NOLINT: a number like any other
  Bounded operator*(Bounded other) const {
    int64_t product;
    return __builtin_mul_overflow(value_, other.value_, &product) ? Bounded(INT64_MAX) : product;
  }
  Bounded operator+(Bounded other) const {
    int64_t sum;
    return __builtin_add_overflow(value_, other.value_, &sum) ? Bounded(INT64_MAX) : sum;
  }
  int64_t value() const { return value_; }

 private:
  int64_t value_;
};

class Sizes {
 public:
  Sizes(const TensorFlow& tf, TF_Graph* graph)
      : tf_(tf), graph_(graph), status_(tf.NewStatus(), tf.DeleteStatus) {}

  void CheckOperation(TF_Operation* operation) {
    const std::string op = tf_.OperationOpType(operation);
    CheckInputs(op, operation);
    const Bounded work = WorkPerElement(op, operation);
    for (int i = 0; i < tf_.OperationNumOutputs(operation); ++i) {
      const TF_Output output = {operation, i};
      const auto shape = InferredShape(tf_, graph_, output).value_or(Shape());
      const Bounded elements = Product(shape);
      if (op != "Const" && elements.value() > kMaxElements) {
        throw Error("returns a tensor of ", elements.value(), " elements");
      }
      total_ = total_ + elements;
      work_ = work_ + elements * work;
      if (total_.value() > kMaxTotalElements || work_.value() > kMaxWork) {
        throw Error("makes the graph too large for the images that it takes at once");
      }
    }
  }

 private:
  // Throw Error if an input has no elements, so that the kernel may read past its end. Lists of
  // sizes and axes may be empty, and so may the statistics that training does not read.
  void CheckInputs(const std::string& op, TF_Operation* operation) const {
    if (op == "Identity" || op == "Switch" || op == "Merge") return;
    int count = tf_.OperationNumInputs(operation);
    unsigned char is_training = 0;
    if (op.compare(0, 14, "FusedBatchNorm") == 0) {
      tf_.OperationGetAttrBool(operation, "is_training", &is_training, status_.get());
    }
    if (is_training) count = std::min(count, 3);
    for (int i = 0; i < count; ++i) {
      const TF_Output input = tf_.OperationInput({operation, i});
      const auto shape = InferredShape(tf_, graph_, input);
      if (!shape || Product(*shape).value() != 0) continue;
      const int type = tf_.OperationOutputType(input);
      if ((type == kInt32 || type == kInt64) && shape->size() == 1) continue;
      throw Error("reads a tensor without elements");
    }
  }

  static Bounded Product(const Shape& shape) {
    Bounded product = 1;
    for (int64_t size : shape) product = product * (size < 0 ? 1 : size);
    return product;
  }

  // Return the multiply-accumulates for each element of the output, or comparisons of a pool.
  Bounded WorkPerElement(const std::string& op, TF_Operation* operation) const {
    const auto input = [&](int index) -> std::optional<Shape> {
      if (index >= tf_.OperationNumInputs(operation)) return std::nullopt;
      return InferredShape(tf_, graph_, tf_.OperationInput({operation, index}));
    };
    if (op == "MaxPool" || op == "AvgPool" || op == "QuantizedMaxPool") {
      int64_t sizes[4] = {1, 1, 1, 1};
      tf_.OperationGetAttrIntList(operation, "ksize", sizes, 4, status_.get());
      const Bounded window = Product({sizes, sizes + 4});
      const auto source = input(0);
      return source ? std::min(window.value(), Product(*source).value()) : window;
    }
    const auto weights = input(1);
    if (!weights) return 1;
    const auto begin = weights->begin();
    if (op == "Conv2D" || op == "QuantizedConv2D") {
      return Product({begin, begin + std::min<size_t>(weights->size(), 3)});
    }
    if (op == "DepthwiseConv2dNative") {
      return Product({begin, begin + std::min<size_t>(weights->size(), 2)});
    }
    if (op == "MatMul" || op == "QuantizedMatMul" || op == "BatchMatMul" || op == "BatchMatMulV2") {
      int64_t largest = 1;
      const size_t skipped = weights->size() - std::min<size_t>(weights->size(), 2);
      for (size_t i = skipped; i < weights->size(); ++i) largest = std::max(largest, (*weights)[i]);
      return largest;
    }
    return 1;
  }

  const TensorFlow& tf_;
  TF_Graph* graph_;
  Owned<TF_Status> status_;
  Bounded total_ = 0, work_ = 0;
};

}  // namespace

void CheckSizes(const TensorFlow& tf, std::string_view graph) {
  const Owned<TF_Graph> imported = ImportGraph(tf, graph);
  Sizes sizes(tf, imported.get());
  size_t position = 0;
  while (TF_Operation* operation = tf.GraphNextOperation(imported.get(), &position)) {
    try {
      sizes.CheckOperation(operation);
    } catch (const Error& error) {
      throw Error(tf.OperationOpType(operation), " ", Quote(tf.OperationName(operation)), " ",
                  error.what(), " (--allow_any_op runs it anyway)");
    }
  }
}

}  // namespace label_image
