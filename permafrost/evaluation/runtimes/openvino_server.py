"""OpenVINO, with one stream and in float32, as the other runtimes."""

from typing import Any, Callable, Dict, List, Optional, Tuple

import openvino

from permafrost.evaluation.runtimes import onnx_file, server

CORE = openvino.Core()
DTYPES = {'u8': 'uint8', 'u16': 'uint16', 'u32': 'uint32', 'u64': 'uint64', 'i8': 'int8',
          'i16': 'int16', 'i32': 'int32', 'i64': 'int64', 'bf16': 'bfloat16', 'f16': 'float16',
          'f32': 'float32', 'f64': 'float64', 'boolean': 'bool'}


def read(path: str) -> Tuple[Any, List[str]]:
    """Return the model at `path`, and the names of its outputs: our logits first.

    In Permafrost's frozen graphs the probabilities follow the logits, and are the only output.
    """
    model = CORE.read_model(path)
    names = {name for op in model.get_ops() for port in op.outputs() for name in port.get_names()}
    logits = next((name for name in ('predictions', 'predictions:0') if name in names), None)
    if logits and not any(logits in port.get_names() for port in model.outputs):
        model.add_outputs(logits)
    outputs = [logits if logits in port.get_names() else port.get_any_name()
               for port in model.outputs]
    return model, sorted(outputs, key=lambda name: name != logits)


def load(path: str, threads: int, output: Optional[str]) -> Callable:
    """Return bind(array) for the model at `path`: see server.serve_inference."""
    model, outputs = read(path)
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

        return run, lambda: request.get_tensor(output or outputs[0]).data.copy()

    return bind


def describe(path: str) -> Dict[str, Any]:
    """Return the answer to {"describe": path}: see server."""
    model, outputs = read(path)
    return {'inputs': [_describe_input(each) for each in model.inputs], 'outputs': outputs,
            'labels': _labels(path, model),
            'source_ops': onnx_file.source_ops(path, outputs) if path.endswith('.onnx') else {}}


def _describe_input(source: Any) -> Dict[str, Any]:
    kind = source.get_element_type().get_type_name()
    return {'name': source.get_any_name(), 'dtype': DTYPES.get(kind, kind),
            'shape': [-1 if size.is_dynamic else size.get_length()
                      for size in source.get_partial_shape()]}


def _labels(path: str, model: Any) -> List[str]:
    """Return the class names in a .tflite or .onnx file, or none."""
    if path.endswith('.tflite'):
        return server.tflite_labels(path)
    key = ['framework', 'labels']  # where OpenVINO keeps the metadata of ONNX
    return model.get_rt_info(key).astype(str).splitlines() if model.has_rt_info(key) else []


if __name__ == '__main__':
    server.serve_inference(openvino.__version__, load, describe)
