"""A child in .venv/tflite-micro: measures a model in the interpreter of TensorFlow Lite Micro.

{"describe": file}: answer {"arena_bytes", "ops": [names], "input", "output": {"shape", "scale",
    "zero_point"}, "seconds": for an image, when all processors run}.
{"predict": file, "arena_bytes": N, "inputs": file.npy, "output": file.npy}: write the outputs, int8
    [images, classes], for int8 inputs [images, h, w, 3]. Answer: {}.
"""

import concurrent.futures
import importlib.metadata
import os
import re
import signal
import sys
import tempfile
import time
from typing import Any, Dict

import numpy as np
from tflite_micro import runtime
from tflite_micro.tensorflow.lite.micro.python import schema_py_generated as schema

from permafrost import machine
from permafrost.cli import child_process
from permafrost.evaluation.runtimes import server

ALIGNMENT = 16  # bytes, of arenas
LARGE_ARENA_BYTES = 1 << 26
OPS = {number: name for name, number in vars(schema.BuiltinOperator).items() if name.isupper()}
_interpreter = None  # of a worker process


def answer(request: Dict[str, Any]) -> Dict[str, Any]:
    """Answer one request."""
    if 'describe' in request:
        return _describe(_read(request['describe']))
    inputs = np.load(request['inputs'])
    with concurrent.futures.ProcessPoolExecutor(
            machine.cores(), initializer=_load,
            initargs=(_read(request['predict']), request['arena_bytes'])) as workers:
        outputs = list(workers.map(_run, inputs, chunksize=50))
    np.save(request['output'], np.concatenate(outputs))
    return {}


def _read(path):
    with open(path, 'rb') as stream:
        return stream.read()


def _describe(model):
    arena_bytes = _arena_bytes(model)
    interpreter = runtime.Interpreter.from_bytes(model, arena_size=arena_bytes)
    source, target = interpreter.get_input_details(0), interpreter.get_output_details(0)
    interpreter.set_input(np.zeros(source['shape'], source['dtype']), 0)
    start = time.monotonic()
    interpreter.invoke()  # this arena is enough for that too
    seconds = (time.monotonic() - start) / machine.cores()
    operators = schema.ModelT.InitFromObj(schema.Model.GetRootAs(model)).operatorCodes
    codes = {max(each.builtinCode, each.deprecatedBuiltinCode) for each in operators}
    return {'arena_bytes': arena_bytes, 'ops': sorted(OPS[code] for code in codes),
            'input': _tensor(source), 'output': _tensor(target), 'seconds': seconds}


def _arena_bytes(model):
    """Return the size of the smallest arena in which `model` runs."""
    interpreter = []

    def run():
        interpreter.append(runtime.Interpreter.from_bytes(model, arena_size=LARGE_ARENA_BYTES))
        interpreter[0].print_allocations()

    # The library prints what it uses. Trying ever smaller arenas instead crashes it.
    log = _log(run)
    missing = re.search("Didn't find op for builtin opcode '([A-Z0-9_]+)'", log)
    if missing:
        raise ValueError(f'TensorFlow Lite Micro has no operation {missing[1]}, which this model '
                         'needs: use --formats tflite')
    total = re.search('Arena allocation total ([0-9]+) bytes', log)
    if not total:
        raise ValueError(f'this model needs more than {LARGE_ARENA_BYTES >> 20} MB in TensorFlow '
                         'Lite Micro: use --formats tflite')
    # Where an arena begins decides how many bytes its alignment costs.
    return (int(total[1]) // ALIGNMENT + 2) * ALIGNMENT


def _log(function):
    """Return what the library prints to stderr while `function` runs."""
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as stream:
        os.dup2(stream.fileno(), 2)
        try:
            function()
        except RuntimeError as error:
            print(error, file=sys.stderr, flush=True)
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
        stream.seek(0)
        return stream.read().decode('utf-8', 'replace')


def _tensor(details):
    params = details['quantization_parameters']
    return {'dtype': np.dtype(details['dtype']).name, 'shape': details['shape'].tolist(),
            'scale': float(params['scales'][0]), 'zero_point': int(params['zero_points'][0])}


def _load(model, arena_bytes):
    global _interpreter
    child_process.end_with_parent(signal.SIGKILL)()
    _interpreter = runtime.Interpreter.from_bytes(model, arena_size=arena_bytes)


def _run(image):
    _interpreter.set_input(image[None], 0)
    _interpreter.invoke()
    return _interpreter.get_output(0)


if __name__ == '__main__':
    server.answer_lines(importlib.metadata.version('tflite-micro'), answer)
