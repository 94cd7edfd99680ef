#include "error.h"
#include "graph/subgraph.h"

namespace label_image {
namespace {

constexpr std::string_view kAllowedOps =
    // structure
    " Assert CheckNumerics Const EnsureShape HostConst Identity IdentityN Merge NoOp Placeholder "
    "PlaceholderV2 PlaceholderWithDefault PreventGradient Snapshot StopGradient Switch "
    // shapes and layout
    "BatchToSpace BatchToSpaceND BroadcastArgs BroadcastTo Concat ConcatV2 DataFormatDimMap "
    "DataFormatVecPermute DepthToSpace DiagPart Diag ExpandDims Fill Gather GatherNd GatherV2 "
    "InvertPermutation LinSpace MatrixBandPart MatrixDiag MatrixDiagPart MirrorPad OneHot OnesLike "
    "Pack Pad PadV2 Range Rank Reshape Reverse ReverseSequence ReverseV2 ScatterNd Select SelectV2 "
    "Shape ShapeN Size Slice SpaceToBatch SpaceToBatchND SpaceToDepth Split SplitV Squeeze "
    "StridedSlice TensorScatterUpdate Tile Transpose Unique UniqueV2 Unpack Where ZerosLike "
    // elementwise
    "Abs Acos Acosh Add AddN AddV2 Asin Asinh Atan Atan2 Atanh BiasAdd BiasAddV1 Bitcast "
    "BitwiseAnd BitwiseOr BitwiseXor Cast Ceil ClipByValue Cos Cosh Div DivNoNan Elu Equal Erf "
    "Erfc Exp Expm1 Floor FloorDiv FloorMod Greater GreaterEqual Inv Invert IsFinite IsInf IsNan "
    "LeakyRelu LeftShift Less LessEqual Lgamma Log Log1p LogicalAnd LogicalNot LogicalOr Maximum "
    "Minimum Mod Mul MulNoNan Neg NotEqual Pow RealDiv Reciprocal Relu Relu6 RightShift Rint Round "
    "Rsqrt Selu Sigmoid Sign Sin Sinh Softplus Softsign Sqrt Square SquaredDifference Sub Tan Tanh "
    "TruncateDiv TruncateMod Xdivy Xlogy "
    // reductions
    "All Any ArgMax ArgMin Bincount Cumprod Cumsum EuclideanNorm InTopK InTopKV2 L2Loss LogSoftmax "
    "Max Mean Min Prod SegmentMax SegmentMean SegmentMin SegmentProd SegmentSum Softmax Sum TopK "
    "TopKV2 UnsortedSegmentMax UnsortedSegmentSum "
    // networks
    "AvgPool AvgPool3D BatchMatMul BatchMatMulV2 BatchMatMulV3 BatchNormWithGlobalNormalization "
    "Conv2D Conv2DBackpropInput Conv3D Conv3DBackpropInputV2 CropAndResize DepthwiseConv2dNative "
    "Dilation2D Einsum ExtractImagePatches FusedBatchNorm FusedBatchNormV2 FusedBatchNormV3 "
    "FusedPadConv2D FusedResizeAndPadConv2D LRN MatMul MaxPool MaxPool3D MaxPoolV2 "
    "MaxPoolWithArgmax NonMaxSuppression NonMaxSuppressionV2 NonMaxSuppressionV3 _FusedConv2D "
    "_FusedMatMul "
    // decoded images
    "AdjustContrastv2 AdjustHue AdjustSaturation HSVToRGB RGBToHSV ResizeArea ResizeBicubic "
    "ResizeBilinear ResizeNearestNeighbor ScaleAndTranslate "
    // quantized
    "Dequantize FakeQuantWithMinMaxArgs FakeQuantWithMinMaxVars FakeQuantWithMinMaxVarsPerChannel "
    "QuantizeAndDequantize QuantizeAndDequantizeV2 QuantizeAndDequantizeV3 "
    "QuantizeDownAndShrinkRange QuantizeV2 QuantizedAdd QuantizedAvgPool QuantizedBiasAdd "
    "QuantizedConcat QuantizedConcatV2 QuantizedConv2D QuantizedConv2DAndRequantize "
    "QuantizedConv2DWithBias QuantizedConv2DWithBiasAndRelu "
    "QuantizedConv2DWithBiasAndReluAndRequantize QuantizedConv2DWithBiasAndRequantize "
    "QuantizedMatMul QuantizedMatMulWithBias QuantizedMatMulWithBiasAndRelu "
    "QuantizedMatMulWithBiasAndReluAndRequantize QuantizedMaxPool QuantizedMul QuantizedRelu "
    "QuantizedRelu6 QuantizedReshape RequantizationRange Requantize ";

}  // namespace

bool IsAllowedInInference(std::string_view op) {
  return op.find(' ') == op.npos && kAllowedOps.find(Concat(' ', op, ' ')) != op.npos;
}

}  // namespace label_image
