"""OpenVINO, with one stream and in float32, as the other runtimes."""

from typing import Callable

import openvino

from permafrost.evaluation.runtimes import server

CORE = openvino.Core()


def load(path: str, threads: int) -> Callable:
    """Return bind(array) for the model at `path`: see server.serve_inference."""
    model = CORE.read_model(path)

    def bind(array):
        model.reshape(list(array.shape))  # known shapes are the fastest
        request = CORE.compile_model(model, 'CPU', {
            'INFERENCE_NUM_THREADS': threads, 'NUM_STREAMS': 1, 'PERFORMANCE_HINT': 'LATENCY',
            'INFERENCE_PRECISION_HINT': 'f32'}).create_infer_request()
        request.set_input_tensor(openvino.Tensor(array))

        def run():
            request.start_async()
            request.wait()

        return run, lambda: request.get_output_tensor(0).data.copy()

    return bind


if __name__ == '__main__':
    server.serve_inference(openvino.__version__, load)
