"""OpenVINO, with one stream and in float32, as the other runtimes."""

from typing import Any, Callable, Dict, Tuple

import openvino

from permafrost.evaluation.runtimes import server

CORE = openvino.Core()
DTYPES = {'u8': 'uint8', 'i8': 'int8', 'i32': 'int32', 'i64': 'int64', 'f16': 'float16',
          'f32': 'float32', 'f64': 'float64', 'boolean': 'bool'}


def read(path: str) -> Tuple[Any, str]:
    """Return the model at `path`, and the name of its output: our logits, or its first one.

    In a frozen graph of ours the probabilities follow the logits, and are the only output.
    """
    model = CORE.read_model(path)
    names = {name for op in model.get_ops() for port in op.outputs() for name in port.get_names()}
    name = next((name for name in ('predictions', 'predictions:0') if name in names), None)
    if name and not any(name in port.get_names() for port in model.outputs):
        model.add_outputs(name)
    return model, name or model.outputs[0].get_any_name()


def load(path: str, threads: int) -> Callable:
    """Return bind(array) for the model at `path`: see server.serve_inference."""
    model, output = read(path)
    compiled: Dict[Tuple[int, ...], Any] = {}  # known shapes are the fastest

    def bind(array):
        if array.shape not in compiled:
            model.reshape(list(array.shape))
            compiled[array.shape] = CORE.compile_model(model, 'CPU', {
                'INFERENCE_NUM_THREADS': threads, 'NUM_STREAMS': 1, 'PERFORMANCE_HINT': 'LATENCY',
                'INFERENCE_PRECISION_HINT': 'f32'})
        request = compiled[array.shape].create_infer_request()
        request.set_input_tensor(openvino.Tensor(array))

        def run():
            request.start_async()
            request.wait()

        return run, lambda: request.get_tensor(output).data.copy()

    return bind


def describe(path: str) -> Dict[str, Any]:
    """Return the answer to {"describe": path}: see server."""
    model, output = read(path)
    source, kind = model.inputs[0], model.inputs[0].get_element_type().get_type_name()
    return {'input': {'name': source.get_any_name(), 'dtype': DTYPES.get(kind, kind),
                      'shape': [-1 if size.is_dynamic else size.get_length()
                                for size in source.get_partial_shape()]},
            'output': output, 'labels': []}


if __name__ == '__main__':
    server.serve_inference(openvino.__version__, load, describe)
