// TensorFlow's operation around weight_gradient.h: it divides the images among threads.
#include <vector>

#include "weight_gradient.h"

#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace permafrost {

using namespace tensorflow;

REGISTER_OP("Conv2DWeightGradient")
    .Input("maps: bfloat16")
    .Input("grad: bfloat16")
    .Output("of_weights: float32")
    .Attr("size: int >= 1")
    .Attr("pad: int >= 0")
    .SetShapeFn([](shape_inference::InferenceContext* c) {
      int size;
      TF_RETURN_IF_ERROR(c->GetAttr("size", &size));
      shape_inference::ShapeHandle maps, grad;
      TF_RETURN_IF_ERROR(c->WithRank(c->input(0), 4, &maps));
      TF_RETURN_IF_ERROR(c->WithRank(c->input(1), 4, &grad));
      c->set_output(0, c->MakeShape({size, size, c->Dim(maps, 3), c->Dim(grad, 3)}));
      return absl::OkStatus();
    })
    .Doc("The gradient of the weights [size, size, C, F] of a convolution of stride 1, from its "
         "maps [N, H, W, C] and the gradient of its output [N, H', W', F]. Above and to the left "
         "of the maps are `pad` rows and columns of zeros.");

class WeightGradientOp : public OpKernel {
 public:
  explicit WeightGradientOp(OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("size", &size_));
    OP_REQUIRES_OK(context, context->GetAttr("pad", &pad_));
  }

  void Compute(OpKernelContext* context) override {
    const Tensor &maps = context->input(0), &grad = context->input(1);
    OP_REQUIRES(context, maps.dims() == 4 && grad.dims() == 4 &&
                             maps.dim_size(0) == grad.dim_size(0),
                absl::InvalidArgumentError(absl::StrCat(
                    "maps and gradients of the same images expected, not ",
                    maps.shape().DebugString(), " and ", grad.shape().DebugString())));
    const ConvShape shape{maps.dim_size(0), maps.dim_size(1), maps.dim_size(2), maps.dim_size(3),
                          grad.dim_size(1), grad.dim_size(2), grad.dim_size(3), size_, pad_};
    Tensor* output;
    OP_REQUIRES_OK(context, context->allocate_output(
        0, {size_, size_, shape.channels, shape.filters}, &output));
    if (!maps.NumElements() || !grad.NumElements()) {
      output->flat<float>().setZero();
      return;
    }
    thread::ThreadPool* pool = context->device()->tensorflow_cpu_worker_threads()->workers;
    // At least a block for each thread.
    const WeightGradient gradient(shape, shape.images / pool->NumThreads());
    const int64_t blocks = (shape.images + gradient.block() - 1) / gradient.block();
    const int64_t workers = std::min<int64_t>(pool->NumThreads(), blocks);
    std::vector<Tensor> scratch(workers), sums(workers);
    for (int64_t i = 0; i < workers; i++) {
      OP_REQUIRES_OK(context, context->allocate_temp(DT_UINT32, {gradient.scratch_words()},
                                                     &scratch[i]));
      OP_REQUIRES_OK(context, context->allocate_temp(DT_FLOAT, {gradient.sums()}, &sums[i]));
    }
    const auto data = [](const Tensor& tensor) {
      return reinterpret_cast<const uint16_t*>(tensor.flat<bfloat16>().data());
    };
    using Scheduling = thread::ThreadPool::SchedulingParams;
    // Which worker takes which blocks is fixed, and so is the order of the sums.
    pool->ParallelFor(workers, Scheduling::Fixed(1), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; i++) {
        sums[i].flat<float>().setZero();
        for (int64_t block = i; block < blocks; block += workers) {
          const int64_t first = block * gradient.block();
          gradient.Add(data(maps), data(grad), first,
                       std::min(gradient.block(), shape.images - first),
                       scratch[i].flat<uint32_t>().data(), sums[i].flat<float>().data());
        }
      }
    });
    const int64_t rows = size_ * size_ * shape.channels;
    const auto cost = Scheduling::Adaptive(workers * shape.filters);
    pool->ParallelFor(rows, cost, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; row++) {
        float* to = output->flat<float>().data() + row * shape.filters;
        std::fill_n(to, shape.filters, 0.f);
        for (const Tensor& each : sums) {
          const float* from = each.flat<float>().data() + row * gradient.padded_filters();
          for (int64_t f = 0; f < shape.filters; f++) to[f] += from[f];
        }
      }
    });
  }

 private:
  int64_t size_, pad_;
};

REGISTER_KERNEL_BUILDER(Name("Conv2DWeightGradient").Device(DEVICE_CPU), WeightGradientOp);

}  // namespace permafrost
