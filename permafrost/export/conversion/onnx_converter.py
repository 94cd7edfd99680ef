"""A child in .venv/onnxruntime: converts a graph to ONNX with tf2onnx, and quantizes it.

The request is that of converters.convert. Activations are uint8 and weights int8: ONNX Runtime is
slower than in float with both int8.
"""

import os
import tempfile
from typing import Any, Dict

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')

import numpy as np  # noqa: E402
import onnx  # noqa: E402
import onnxruntime  # noqa: E402
import tensorflow as tf  # noqa: E402
import tf2onnx  # noqa: E402
from onnxruntime import quantization  # noqa: E402
from onnxruntime.quantization.shape_inference import quant_pre_process  # noqa: E402

from permafrost.evaluation.runtimes import server  # noqa: E402
from permafrost.export.conversion import network  # noqa: E402

MIN_FLOAT16_SIZE = 64  # numbers: a Cast for fewer costs more bytes than it saves


def convert(request: Dict[str, Any]) -> Dict[str, Any]:
    """Write the file that `request` asks for."""
    graph = tf.compat.v1.GraphDef()
    with open(request['graph'], 'rb') as stream:
        graph.ParseFromString(stream.read())
    node = request['node']
    model, _ = tf2onnx.convert.from_graph_def(
        graph, input_names=[f'{node}:0'], output_names=['predictions:0'],
        tensors_to_rename={f'{node}:0': node, 'predictions:0': 'predictions'})
    for tensor in (model.graph.input[0], model.graph.output[0]):
        tensor.type.tensor_type.shape.dim[0].dim_param = 'N'
    if request['quantize'] == 'float16':
        _store_float16(model)
    elif request['quantize'] == 'int8':
        model = _int8(model, np.load(request['calibration']))
    for name, value in request['metadata'].items():
        model.metadata_props.add(key=name, value=value)
    onnx.checker.check_model(model)
    onnx.save(model, request['output'])
    return {}


def _store_float16(model):
    """Store the weights as float16. ONNX Runtime makes float32 of them once, when it loads them:
    few processors compute in float16, and it would convert back and forth at each layer."""
    casts = []
    for tensor in model.graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        if values.dtype == np.float32 and values.size >= MIN_FLOAT16_SIZE:
            name = tensor.name
            tensor.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float16),
                                                         name + '/float16'))
            casts.append(onnx.helper.make_node('Cast', [tensor.name], [name],
                                               to=onnx.TensorProto.FLOAT))
    nodes = casts + list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)


class _Images(quantization.CalibrationDataReader):
    def __init__(self, name, images):
        self._feeds = ({name: image[None]} for image in images)

    def get_next(self):
        return next(self._feeds, None)


def _int8(model, images):
    """Return the quantized `model`; what preprocesses remains in float."""
    with tempfile.TemporaryDirectory() as folder:
        source, prepared, output = (os.path.join(folder, name) for name in (
            'float.onnx', 'prepared.onnx', 'int8.onnx'))
        onnx.save(model, source)
        quant_pre_process(source, prepared, skip_symbolic_shape=True)
        names = [each.name for each in onnx.load(prepared).graph.node
                 if network.is_preprocessing(each.name)]
        quantization.quantize_static(
            prepared, output, _Images(model.graph.input[0].name, images),
            quant_format=quantization.QuantFormat.QDQ, per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8, nodes_to_exclude=names)
        return onnx.load(output)


if __name__ == '__main__':
    # The second one rounds the weights and activations of int8.
    server.answer_lines(f'tf2onnx {tf2onnx.__version__}, onnxruntime {onnxruntime.__version__}',
                        convert)
