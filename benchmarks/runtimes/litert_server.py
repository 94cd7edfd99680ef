"""LiteRT (TensorFlow Lite), with XNNPACK, its default."""

import importlib.metadata

from ai_edge_litert.interpreter import Interpreter

from benchmarks.runtimes import server


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


server.serve_inference(importlib.metadata.version('ai-edge-litert'), load)
