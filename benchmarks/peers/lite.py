"""LiteRT (TensorFlow Lite) as a peer, with XNNPACK, which it takes by itself."""

import importlib.metadata

from ai_edge_litert.interpreter import Interpreter
from serve import serve


def load(path, threads):
    interpreter = Interpreter(path, num_threads=threads)
    source = interpreter.get_input_details()[0]['index']
    target = interpreter.get_output_details()[0]['index']

    def bind(array):
        interpreter.resize_tensor_input(source, array.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(source, array)
        return interpreter.invoke, lambda: interpreter.get_tensor(target)

    return bind


serve(importlib.metadata.version('ai-edge-litert'), load)
