"""What a user would pick instead to run a frozen graph, or to train. Each runs in an environment
of its own.

The scripts here, but ours.py, import nothing of Permafrost: they run in .venv/<environment> and
answer lines of JSON (serve.py). `Peer` is the side of the benchmark.
"""

import collections
import json
import os
import subprocess

from benchmarks import measure
from permafrost.errors import UserError

HERE = os.path.dirname(os.path.abspath(__file__))

# script: what answers; converter: command that makes `output` of a frozen graph with one
# placeholder, `node`, run with the Python of `environment`. {here}: this folder.
Row = collections.namedtuple('Row', 'script environment suffix converter_environment converter')

PEERS = {
    'onnxruntime': Row(
        'ort.py', 'onnxruntime', '.onnx', 'onnxruntime',
        '-m tf2onnx.convert --graphdef {graph} --inputs {node}:0 --outputs predictions:0 '
        '--output {output}'),
    'litert': Row(
        'lite.py', 'litert', '.tflite', 'tf2',
        '{here}/to_tflite.py {graph} {node} {size} {output}'),
    'openvino': Row(
        'vino.py', 'openvino', '.xml', 'openvino',
        '-m openvino.tools.ovc {graph} --output_model {output} --compress_to_fp16=False'),
}

TRAINERS = {name: ('ours.py', name) for name in ('tf1', 'tf1-mkl', 'tf2')}
TRAINERS['pytorch'] = ('pytorch.py', 'pytorch')
TRAINERS.update((name + '-bfloat16', TRAINERS[name]) for name in ('tf2', 'pytorch'))


def python(environment):
    """The Python of .venv/<environment>, which is built where needed. Raises UserError."""
    root = measure.ROOT
    if subprocess.call([os.path.join(root, 'tools', 'setup.sh'), environment],
                       stdin=subprocess.DEVNULL):
        raise UserError('the environment %s is needed for this benchmark: mend what '
                        'tools/setup.sh says above' % environment)
    return os.path.join(root, '.venv', environment, 'bin', 'python')


def convert(name, graph, node, size, folder):
    """The path of `graph` (a file with the placeholder `node` of size x size) as `name` reads it.

    Raises UserError with the converter's last line where it refuses.
    """
    row = PEERS[name]
    output = os.path.join(folder, os.path.basename(graph)[:-len('.pb')] + row.suffix)
    if os.path.exists(output):  # of another batch size
        return output
    command = [python(row.converter_environment)] + [
        word.format(here=HERE, graph=graph, node=node, size=size, output=output)
        for word in row.converter.split()]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, universal_newlines=True, cwd=folder)
    if done.returncode or not os.path.exists(output):
        raise UserError('%s does not take %s: %s' % (
            name, graph, (done.stdout.strip().splitlines() or ['no output'])[-1]))
    return output


class Peer:
    """A running peer; use it in a `with`. `version` is its own."""

    def __init__(self, name):
        self.name = name
        self._script, environment = TRAINERS.get(name) or PEERS[name][:2]
        self._process = subprocess.Popen(
            [python(environment), os.path.join(HERE, self._script)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            universal_newlines=True)
        self.version = self._answer()['version']

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self._process.stdin.close()
        self._process.stdout.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def ask(self, **request):
        """The answer to `request`. Raises UserError where the peer fails."""
        self._process.stdin.write(json.dumps(request) + '\n')
        self._process.stdin.flush()
        answer = self._answer()
        if 'error' in answer:
            raise UserError('%s: %s' % (self.name, answer['error']))
        return answer

    def _answer(self):
        line = self._process.stdout.readline()
        if not line:
            raise UserError('%s ended with code %s: try tools/benchmarks/peers/%s by hand' % (
                self.name, self._process.wait(), self._script))
        return json.loads(line)
