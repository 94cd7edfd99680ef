"""LiteRT (TensorFlow Lite), with XNNPACK, its default."""

import importlib.metadata
from typing import Any, Callable, Dict, List, Optional

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from permafrost.evaluation.runtimes import server


def load(path: str, threads: int, output: Optional[str]) -> Callable:
    """Return bind(array) for the model at `path`: see server.serve_inference."""
    interpreter = Interpreter(path, num_threads=threads)
    source = interpreter.get_input_details()[0]['index']
    number = _names(interpreter)['outputs'].index(output) if output else 0
    target = interpreter.get_output_details()[number]['index']

    def bind(array):
        interpreter.resize_tensor_input(source, array.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(source, array)
        return interpreter.invoke, lambda: interpreter.get_tensor(target)

    return bind


def describe(path: str) -> Dict[str, Any]:
    """Return the answer to {"describe": path}: see server."""
    interpreter = Interpreter(path)
    names = _names(interpreter)
    inputs = [{'name': name, 'dtype': np.dtype(source['dtype']).name,
               'shape': list(map(int, source['shape_signature']))}
              for name, source in zip(names['inputs'], interpreter.get_input_details())]
    return {'inputs': inputs, 'outputs': names['outputs'], 'labels': server.tflite_labels(path)}


def _names(interpreter: Interpreter) -> Dict[str, List[str]]:
    """Return the names of the inputs and outputs: those of the first signature, else of tensors."""
    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    names = {each['index']: each['name'] for each in inputs + outputs}
    for signature in list(interpreter.get_signature_list())[:1]:
        runner = interpreter.get_signature_runner(signature)
        for named in (runner.get_input_details(), runner.get_output_details()):
            names.update({each['index']: name for name, each in named.items()})
    return {'inputs': [names[each['index']] for each in inputs],
            'outputs': [names[each['index']] for each in outputs]}


if __name__ == '__main__':
    server.serve_inference(importlib.metadata.version('ai-edge-litert'), load, describe)
