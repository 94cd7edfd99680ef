"""ONNX Runtime. Input and output are bound once, as label_image creates its tensor once."""

from typing import Any, Callable, Dict, Optional

import onnxruntime

from permafrost.evaluation.runtimes import onnx_file, server


def load(path: str, threads: int, output: Optional[str]) -> Callable:
    """Return bind(array) for the model at `path`: see server.serve_inference."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=['CPUExecutionProvider'])

    def bind(array):
        binding = session.io_binding()
        binding.bind_ortvalue_input(session.get_inputs()[0].name,
                                    onnxruntime.OrtValue.ortvalue_from_numpy(array))
        binding.bind_output(output or session.get_outputs()[0].name)
        return (lambda: session.run_with_iobinding(binding),
                lambda: binding.copy_outputs_to_cpu()[0])

    return bind


def describe(path: str) -> Dict[str, Any]:
    """Return the answer to {"describe": path}: see server."""
    session = onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider'])
    labels = session.get_modelmeta().custom_metadata_map.get('labels', '')
    outputs = [each.name for each in session.get_outputs()]
    return {'inputs': [_describe_input(each) for each in session.get_inputs()], 'outputs': outputs,
            'labels': labels.splitlines(), 'source_ops': onnx_file.source_ops(path, outputs)}


def _describe_input(source: Any) -> Dict[str, Any]:
    if not source.type.startswith('tensor('):
        raise ValueError(f'its input is {source.type}, not a tensor')
    kind = source.type[len('tensor('):-1]
    return {'name': source.name, 'dtype': {'float': 'float32', 'double': 'float64'}.get(kind, kind),
            'shape': [size if isinstance(size, int) else -1 for size in source.shape]}


if __name__ == '__main__':
    server.serve_inference(onnxruntime.__version__, load, describe)
