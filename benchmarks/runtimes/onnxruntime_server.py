"""ONNX Runtime. Input and output are bound once, as label_image creates its tensor once."""

import onnxruntime

from benchmarks.runtimes import server


def load(path, threads):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=['CPUExecutionProvider'])

    def bind(array):
        binding = session.io_binding()
        binding.bind_ortvalue_input(session.get_inputs()[0].name,
                                    onnxruntime.OrtValue.ortvalue_from_numpy(array))
        binding.bind_output(session.get_outputs()[0].name)
        return (lambda: session.run_with_iobinding(binding),
                lambda: binding.copy_outputs_to_cpu()[0])

    return bind


server.serve_inference(onnxruntime.__version__, load)
