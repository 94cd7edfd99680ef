"""Conversion for TensorFlow Lite Micro: frozen graph -> int8 model -> C source and its facts."""

import hashlib
import os
import tempfile
from typing import Any, Dict, Optional, Tuple

import numpy as np
import tensorflow.compat.v1 as tf

from permafrost.evaluation.metrics import BATCH_SIZE
from permafrost.evaluation.runtimes import client
from permafrost.export.conversion import converters
from permafrost.export.conversion.source_graph import SourceGraph
from permafrost.export.tflite_micro import c_source, preprocessing

ENVIRONMENT = 'tflite-micro'
MODULE = 'permafrost.export.tflite_micro.interpreter'


def convert(source: SourceGraph, path: str, session_config: Optional[tf.ConfigProto] = None
            ) -> Tuple[Dict[str, bytes], bytes, np.ndarray, Dict[str, Any]]:
    """Return the files <path>.h and <path>.cc, {path: content}, the model in them, the classes
    that it answers, int64 [N], and the facts for the json file.

    The model takes preprocessed int8 numbers: TensorFlow Lite Micro cannot slice uint8 images. It
    answers all of `source.images` in that interpreter. Raises UserError if the interpreter lacks an
    operation of the model, or C its preprocessing.
    """
    before = preprocessing.find(source.graph, source.images[:8], source.path, session_config)
    inputs = before.apply(source.calibration).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder, client.Child(MODULE, ENVIRONMENT) as child:
        file, arrays, answers = (os.path.join(folder, name)
                                 for name in ('model.tflite', 'inputs.npy', 'outputs.npy'))
        converter = converters.convert('tflite', source.graph, file, 'int8', 'inputs', inputs,
                                       path=source.path)
        facts = child.ask(describe=file)
        minutes = len(source.images) * facts['seconds'] / 60
        if minutes >= 1:
            print(f'note: running {len(source.images)} images in TensorFlow Lite Micro takes about '
                  f'{minutes:.0f} min', flush=True)
        scale, zero_point = facts['input']['scale'], facts['input']['zero_point']
        client.save(arrays, np.concatenate([
            before.quantize(before.apply(source.images[first:first + BATCH_SIZE]), scale,
                            zero_point)
            for first in range(0, len(source.images), BATCH_SIZE)]))
        child.ask(predict=file, arena_bytes=facts['arena_bytes'], inputs=arrays, output=answers)
        predicted = np.load(answers).argmax(1)
        version = child.version
        with open(file, 'rb') as stream:
            content = stream.read()
    name = os.path.basename(path)
    model = c_source.Model(
        c_source.identifier(os.path.splitext(name)[0]), name, content,
        hashlib.sha256(content).hexdigest(), facts, source.classes, before)
    contents = {path + '.h': c_source.header(model).encode(),
                path + '.cc': c_source.source(model).encode()}
    return contents, content, predicted, {
        'arena_bytes': facts['arena_bytes'],
        'ops_to_register': [c_source.add_method(op) for op in facts['ops']],
        'preprocessing': before.to_json(), 'input': dict(facts['input'], name='inputs'),
        'output': dict(facts['output'], name='predictions'),
        'runtime': {'name': ENVIRONMENT, 'version': version},
        'versions': {'converter': converter}}
