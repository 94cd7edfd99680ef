// x * sigmoid(1.702 * x) in bfloat16 and its gradient, in one pass over memory each.
#include <immintrin.h>

#include "tensorflow/core/framework/common_shape_fns.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace permafrost {

using namespace tensorflow;

REGISTER_OP("SigmoidGelu")
    .Input("x: T")
    .Output("y: bfloat16")
    .Attr("T: {bfloat16, float}")
    .SetShapeFn(shape_inference::UnchangedShape)
    .Doc("x * sigmoid(1.702 * x).");

REGISTER_OP("SigmoidGeluGrad")
    .Input("grad: bfloat16")
    .Input("x: T")
    .Output("of_x: T")
    .Attr("T: {bfloat16, float}")
    .SetShapeFn(shape_inference::MergeBothInputsShapeFn)
    .Doc("The gradient of `x`, from the gradient of SigmoidGelu's output.");

constexpr int kLanes = 16;
constexpr float kSlope = 1.702f;

// 16 values as float32, of which only those in `mask` are read; the others are 0.
inline __m512 Load(const bfloat16* values, __mmask16 mask) {
  const __m256i narrow = _mm256_maskz_loadu_epi16(mask, values);
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(narrow), 16));
}

inline __m512 Load(const float* values, __mmask16 mask) {
  return _mm512_maskz_loadu_ps(mask, values);
}

inline void Store(bfloat16* values, __mmask16 mask, __m512 x) {
  _mm256_mask_storeu_epi16(values, mask, (__m256i)_mm512_cvtneps_pbh(x));
}

inline void Store(float* values, __mmask16 mask, __m512 x) {
  _mm512_mask_storeu_ps(values, mask, x);
}

// sigmoid(1.702 * x) with a relative error below 2^-12, where bfloat16 rounds to 2^-9.
inline __m512 Sigmoid(__m512 x) {
  __m512 exponent = _mm512_mul_ps(x, _mm512_set1_ps(-kSlope * 1.44269504f));  // of 2
  // `rest` needs finite numbers; 2^256 is infinite in float32. The order of arguments keeps NaN.
  exponent = _mm512_min_ps(_mm512_set1_ps(256.f), exponent);
  exponent = _mm512_max_ps(_mm512_set1_ps(-256.f), exponent);
  const __m512 whole =
      _mm512_roundscale_ps(exponent, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  const __m512 rest = _mm512_sub_ps(exponent, whole);  // -0.5 to 0.5
  __m512 exponential = _mm512_set1_ps(0.00961813f);  // Taylor's series of 2^rest
  for (float term : {0.05550411f, 0.24022651f, 0.69314718f, 1.f}) {
    exponential = _mm512_fmadd_ps(exponential, rest, _mm512_set1_ps(term));
  }
  const __m512 one = _mm512_set1_ps(1.f);
  return _mm512_rcp14_ps(_mm512_add_ps(one, _mm512_scalef_ps(exponential, whole)));
}

inline __m512 Gradient(__m512 x) {
  const __m512 one = _mm512_set1_ps(1.f), sigmoid = Sigmoid(x);
  const __m512 rest = _mm512_mul_ps(_mm512_set1_ps(kSlope),
                                    _mm512_mul_ps(x, _mm512_sub_ps(one, sigmoid)));
  return _mm512_fmadd_ps(sigmoid, rest, sigmoid);
}

// Calls function(first, mask) for each 16 of the elements, on all threads.
template <class Function>
void ForEachRegister(OpKernelContext* context, int64_t elements, Function function) {
  using Scheduling = thread::ThreadPool::SchedulingParams;
  const auto cost = Scheduling::Adaptive(8 * kLanes);
  context->device()->tensorflow_cpu_worker_threads()->workers->ParallelFor(
      (elements + kLanes - 1) / kLanes, cost, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; i++) {
          const int64_t left = elements - i * kLanes;
          function(i * kLanes, static_cast<__mmask16>(left >= kLanes ? -1 : (1 << left) - 1));
        }
      });
}

template <class T>
class SigmoidGeluOp : public OpKernel {
 public:
  using OpKernel::OpKernel;

  void Compute(OpKernelContext* context) override {
    const Tensor& x = context->input(0);
    Tensor* y;
    OP_REQUIRES_OK(context, context->allocate_output(0, x.shape(), &y));  // the gradient reads x
    const T* from = x.flat<T>().data();
    bfloat16* to = y->flat<bfloat16>().data();
    ForEachRegister(context, x.NumElements(), [&](int64_t first, __mmask16 mask) {
      const __m512 value = Load(from + first, mask);
      Store(to + first, mask, _mm512_mul_ps(value, Sigmoid(value)));
    });
  }
};

template <class T>
class SigmoidGeluGradOp : public OpKernel {
 public:
  using OpKernel::OpKernel;

  void Compute(OpKernelContext* context) override {
    const Tensor &grad = context->input(0), &x = context->input(1);
    OP_REQUIRES(context, grad.shape() == x.shape(), absl::InvalidArgumentError(absl::StrCat(
        "two tensors of one shape expected, not ", grad.shape().DebugString(), " and ",
        x.shape().DebugString())));
    Tensor* of_x;
    OP_REQUIRES_OK(context, context->forward_input_or_allocate_output({0, 1}, 0, x.shape(), &of_x));
    const bfloat16* upstream = grad.flat<bfloat16>().data();
    const T* from = x.flat<T>().data();
    T* to = of_x->flat<T>().data();
    ForEachRegister(context, x.NumElements(), [&](int64_t first, __mmask16 mask) {
      Store(to + first, mask, _mm512_mul_ps(Load(upstream + first, mask),
                                            Gradient(Load(from + first, mask))));
    });
  }
};

#define REGISTER(T)                                                                         \
  REGISTER_KERNEL_BUILDER(Name("SigmoidGelu").Device(DEVICE_CPU).TypeConstraint<T>("T"),    \
                          SigmoidGeluOp<T>);                                                \
  REGISTER_KERNEL_BUILDER(Name("SigmoidGeluGrad").Device(DEVICE_CPU).TypeConstraint<T>("T"), \
                          SigmoidGeluGradOp<T>)
REGISTER(bfloat16);
REGISTER(float);
#undef REGISTER

}  // namespace permafrost
