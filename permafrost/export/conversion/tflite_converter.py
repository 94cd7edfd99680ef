"""A child in .venv/tf2: converts a graph to TFLite with TensorFlow's own converter.

The request is that of converters.convert. Chosen by measurement: ai-edge-quantizer gives files of
the same speed, is no more accurate, and needs another environment.
"""

import os
from typing import Any, Dict

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')

import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

from permafrost.evaluation.runtimes import server  # noqa: E402
from permafrost.export.conversion import network  # noqa: E402


def convert(request: Dict[str, Any]) -> Dict[str, Any]:
    """Write the file that `request` asks for."""
    graph = tf.compat.v1.GraphDef()
    with open(request['graph'], 'rb') as stream:
        graph.ParseFromString(stream.read())
    graph = network.crop_floats(graph)
    converter = _converter(graph, request['node'])
    if request['quantize'] == 'none':
        content = converter.convert()
    elif request['quantize'] == 'float16':
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_types = [tf.float16]
        content = converter.convert()
    else:
        content = _int8(graph, request['node'], request['calibration'])
    with open(request['output'], 'wb') as stream:
        stream.write(content)
    return {}


def _converter(graph, node):
    """Return a converter of `graph`, fed at `node`, with the signature `serving_default`."""
    placeholder, = [each for each in graph.node if each.name == node]
    module = tf.Module()
    module.predict = tf.function(
        lambda images: {'predictions': tf.graph_util.import_graph_def(
            graph, {node: images}, ['predictions:0'], name='')[0]},
        input_signature=[tf.TensorSpec([each.size if each.size > 0 else None for each in
                                        placeholder.attr['shape'].shape.dim],
                                       tf.dtypes.as_dtype(placeholder.attr['dtype'].type), node)])
    return tf.lite.TFLiteConverter.from_concrete_functions(
        [module.predict.get_concrete_function()], module)


def _int8(graph, node, calibration):
    """Return an int8 file: of `images`, what preprocesses remains in float."""
    converter = _converter(graph, node)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if node == 'inputs':  # for a microcontroller: integers only, also in and out
        if calibration is not None:
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
    if calibration is None:  # trained with fake_quant, whose ranges the converter takes over
        return converter.convert()

    images = np.load(calibration)
    converter.representative_dataset = lambda: ([each[None]] for each in images)
    if node == 'inputs':
        return converter.convert()
    # A division in int8 would divide by zero: a quantized 1 / deviation has no small values.
    interpreter = tf.lite.Interpreter(model_content=_converter(graph, node).convert())
    floats = [each['name'] for each in interpreter.get_tensor_details()
              if any(map(network.is_preprocessing, each['name'].split(';')))]
    options = tf.lite.experimental.QuantizationDebugOptions(denylisted_nodes=floats)
    return tf.lite.experimental.QuantizationDebugger(
        converter=converter, debug_options=options).get_nondebug_quantized_model()


if __name__ == '__main__':
    server.answer_lines(tf.__version__, convert)
