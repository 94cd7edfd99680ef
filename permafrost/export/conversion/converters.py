"""The converters: each a child in the environment of its library, as runtimes.server describes."""

import os
import tempfile
import zipfile
from typing import Dict, NamedTuple, Optional, Sequence

import numpy as np
import tensorflow.compat.v1 as tf

from permafrost.evaluation.runtimes import client
from permafrost.export import fake_quant
from permafrost.export.conversion import network


class Converter(NamedTuple):
    """A module that converts, and where it runs."""
    module: str
    environment: str


CONVERTERS: Dict[str, Converter] = {
    'tflite': Converter('permafrost.export.conversion.tflite_converter', 'tf2'),
    'onnx': Converter('permafrost.export.conversion.onnx_converter', 'onnxruntime'),
}


def start(format: str) -> client.Child:
    """Start the child that converts to `format`. Use it as a context manager."""
    return client.Child(*CONVERTERS[format])


def trained_ranges(format: str, quantize: str, graph: tf.GraphDef) -> Dict[str, np.ndarray]:
    """Return {node: [smallest, largest]} that quantization-aware training learned for this file.

    {} if the file is calibrated or not int8.
    """
    takes_ranges = quantize == 'int8' and format in ('tflite', 'tflm')
    return fake_quant.sufficient_ranges(graph) if takes_ranges else {}


def convert(format: str, graph: tf.GraphDef, output: str, quantize: str = 'none',
            node: str = 'images', calibration: Optional[np.ndarray] = None,
            labels: Sequence[str] = (), path: str = 'the graph',
            child: Optional[client.Child] = None) -> str:
    """Write the frozen `graph` to `output` in `format`; return the version of the converter.

    `node` is fed: `images`, uint8, or `inputs`, float32 (with int8: TFLite for microcontrollers,
    int8 in and out). int8 needs `calibration`, uint8 images or float inputs, unless there are
    trained_ranges. `labels` are class names to store in the file. `child` is what `start`
    returned, for several conversions. Raises UserError.
    """
    if child is None:
        with start(format) as child:
            return convert(format, graph, output, quantize, node, calibration, labels, path, child)
    part = network.extract(graph, node, path)
    ranges = trained_ranges(format, quantize, graph)
    if ranges:
        part, calibration = fake_quant.insert_ranges(part, ranges), None
    with tempfile.TemporaryDirectory() as folder:
        source, images = (os.path.join(folder, name) for name in ('graph.pb', 'images.npy'))
        with open(source, 'wb') as stream:
            stream.write(part.SerializeToString())
        if calibration is not None:
            client.save(images, calibration)
        child.ask(graph=source, output=os.path.abspath(output), node=node, quantize=quantize,
                  calibration=None if calibration is None else images,
                  metadata={'labels': '\n'.join(labels)} if labels else {})
    if format == 'tflite' and labels:
        # TFLite's place for class names: a zip archive after the model, which runtimes pass over.
        with zipfile.ZipFile(output, 'a') as archive:
            entry = zipfile.ZipInfo('labels.txt')  # a fixed date: equal graphs give equal files
            archive.writestr(entry, '\n'.join(labels))
    return child.version
