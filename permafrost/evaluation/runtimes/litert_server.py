"""LiteRT (TensorFlow Lite), with XNNPACK, its default."""

import importlib.metadata
import zipfile
from typing import Any, Callable, Dict

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from permafrost.evaluation.runtimes import server


def load(path: str, threads: int) -> Callable:
    """Return bind(array) for the model at `path`: see server.serve_inference."""
    interpreter = Interpreter(path, num_threads=threads)
    source = interpreter.get_input_details()[0]['index']
    target = interpreter.get_output_details()[0]['index']

    def bind(array):
        interpreter.resize_tensor_input(source, array.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(source, array)
        return interpreter.invoke, lambda: interpreter.get_tensor(target)

    return bind


def describe(path: str) -> Dict[str, Any]:
    """Return the answer to {"describe": path}: see server."""
    interpreter = Interpreter(path)
    source, target = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    labels = ''
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if 'labels.txt' in archive.namelist():
                labels = archive.read('labels.txt').decode('utf-8', 'replace')
    return {'input': {'name': source['name'], 'dtype': np.dtype(source['dtype']).name,
                      'shape': list(map(int, source['shape_signature']))},
            'output': target['name'], 'labels': labels.splitlines()}


if __name__ == '__main__':
    server.serve_inference(importlib.metadata.version('ai-edge-litert'), load, describe)
