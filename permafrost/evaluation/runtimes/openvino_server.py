"""OpenVINO, with one stream and in float32, as the other runtimes."""

from typing import Any, Callable, Dict, Tuple

import openvino

from permafrost.evaluation.runtimes import server

CORE = openvino.Core()
DTYPES = {'u8': 'uint8', 'i8': 'int8', 'i32': 'int32', 'i64': 'int64', 'f16': 'float16',
          'f32': 'float32', 'f64': 'float64', 'boolean': 'bool'}


def load(path: str, threads: int) -> Callable:
    """Return bind(array) for the model at `path`: see server.serve_inference."""
    model = CORE.read_model(path)
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

        return run, lambda: request.get_output_tensor(0).data.copy()

    return bind


def describe(path: str) -> Dict[str, Any]:
    """Return the answer to {"describe": path}: see server."""
    model = CORE.read_model(path)
    source, kind = model.inputs[0], model.inputs[0].get_element_type().get_type_name()
    return {'input': {'name': source.get_any_name(), 'dtype': DTYPES.get(kind, kind),
                      'shape': [-1 if size.is_dynamic else size.get_length()
                                for size in source.get_partial_shape()]},
            'output': model.outputs[0].get_any_name(), 'labels': []}


if __name__ == '__main__':
    server.serve_inference(openvino.__version__, load, describe)
