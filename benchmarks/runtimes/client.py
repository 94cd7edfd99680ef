"""Start the servers of this folder, each in .venv/<environment>, and ask them.

The servers, except tensorflow_server.py, import nothing of Permafrost. server.py documents the
requests.
"""

import json
import os
import subprocess
from typing import Any, Dict, NamedTuple

from permafrost.errors import UserError

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class Server(NamedTuple):
    """A module that answers requests, and where it runs."""
    module: str
    environment: str


class Converter(NamedTuple):
    """A Python command that converts a frozen graph with one placeholder, and where it runs."""
    environment: str
    arguments: str  # with {graph}, {node}: the placeholder, {size}: its image size, {output}
    suffix: str  # of the output


SERVERS = {
    'onnxruntime': Server('benchmarks.runtimes.onnxruntime_server', 'onnxruntime'),
    'litert': Server('benchmarks.runtimes.litert_server', 'litert'),
    'openvino': Server('benchmarks.runtimes.openvino_server', 'openvino'),
    'tf1': Server('benchmarks.runtimes.tensorflow_server', 'tf1'),
    'tf1-mkl': Server('benchmarks.runtimes.tensorflow_server', 'tf1-mkl'),
    'tf2': Server('benchmarks.runtimes.tensorflow_server', 'tf2'),
    'tf2-bfloat16': Server('benchmarks.runtimes.tensorflow_server', 'tf2'),
    'pytorch': Server('benchmarks.runtimes.pytorch_server', 'pytorch'),
    'pytorch-bfloat16': Server('benchmarks.runtimes.pytorch_server', 'pytorch'),
}
CONVERTERS = {
    'onnxruntime': Converter(
        'onnxruntime', '-m tf2onnx.convert --graphdef {graph} --inputs {node}:0 '
        '--outputs predictions:0 --output {output}', '.onnx'),
    'litert': Converter(
        'tf2', '-m tensorflow.lite.python.tflite_convert --enable_v1_converter '
        '--graph_def_file {graph} --input_arrays {node} --output_arrays predictions '
        '--input_shapes 1,{size},{size},3 --output_file {output}', '.tflite'),
    'openvino': Converter(
        'openvino', '-m openvino.tools.ovc {graph} --output_model {output} '
        '--compress_to_fp16=False', '.xml'),
}


def python(environment: str) -> str:
    """Return the Python of .venv/<environment>; build it if necessary. Raises UserError."""
    if subprocess.call([os.path.join(ROOT, 'tools', 'setup.sh'), environment],
                       stdin=subprocess.DEVNULL):
        raise UserError(f'this benchmark needs the environment {environment}: fix what '
                        'tools/setup.sh reports above')
    return os.path.join(ROOT, '.venv', environment, 'bin', 'python')


def convert(name: str, graph: str, node: str, size: int, folder: str) -> str:
    """Return the path of `graph` in the format of runtime `name`, converted into `folder`.

    `graph` is a file whose only placeholder, `node`, takes images of size x size. Raises UserError
    with the converter's last line if it fails.
    """
    converter = CONVERTERS[name]
    output = os.path.join(folder, os.path.basename(graph)[:-len('.pb')] + converter.suffix)
    if os.path.exists(output):  # for another batch size
        return output
    command = [python(converter.environment)] + [
        word.format(graph=graph, node=node, size=size, output=output)
        for word in converter.arguments.split()]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, universal_newlines=True, cwd=folder)
    if done.returncode or not os.path.exists(output):
        last_line = (done.stdout.strip().splitlines() or ['no output'])[-1]
        raise UserError(f'{name} could not convert {graph}: {last_line}')
    return output


class Runtime:
    """A running server. Use it as a context manager; `version` is the framework's."""

    def __init__(self, name: str):
        self.name = name
        self._server = SERVERS[name]
        self._process = subprocess.Popen(
            [python(self._server.environment), '-m', self._server.module], cwd=ROOT,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            universal_newlines=True)
        self.version = self._answer()['version']

    def __enter__(self) -> 'Runtime':
        return self

    def __exit__(self, *unused: object) -> None:
        self._process.stdin.close()
        self._process.stdout.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def ask(self, **request: Any) -> Dict[str, Any]:
        """Return the answer to `request`. Raises UserError if the server cannot answer."""
        self._process.stdin.write(json.dumps(request) + '\n')
        self._process.stdin.flush()
        answer = self._answer()
        if 'error' in answer:
            raise UserError(f"{self.name}: {answer['error']}")
        return answer

    def _answer(self):
        line = self._process.stdout.readline()
        if not line:
            module, environment = self._server
            raise UserError(f'{self.name} exited with code {self._process.wait()}: run '
                            f'.venv/{environment}/bin/python -m {module} to see why')
        return json.loads(line)
