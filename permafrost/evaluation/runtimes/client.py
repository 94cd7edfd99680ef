"""The parent's side: start children, each in .venv/<environment>, and ask them.

The children import only those modules of Permafrost that need no more than NumPy. server.py
documents the protocol.
"""

import contextlib
import json
import os
import subprocess
import tempfile
from typing import Any, Dict, Optional

import numpy as np

from permafrost.cli.commands import ROOT
from permafrost.errors import UsageError, UserError, one_line, printable, shown
from permafrost.evaluation.frozen_graphs.reading import isolation

RUNTIMES = ('litert', 'onnxruntime', 'openvino')  # each has an environment and a server
RUNTIME_OF = {'.tflite': 'litert', '.onnx': 'onnxruntime'}  # by the suffix of a file
BATCH_SIZE = 100  # images; an int8 file gives the same answers for any


def runtime_of(path: str, stated: Optional[str] = None) -> str:
    """Return the runtime of the graph at `path`: the `stated` one, else by its suffix.

    It is 'tensorflow' or one of RUNTIMES. Raises UsageError if that one does not run such files.
    """
    suffix = os.path.splitext(path)[1]
    usual = RUNTIME_OF.get(suffix, 'tensorflow')
    if stated in (None, usual):
        return usual
    if stated == 'openvino' and suffix in ('.pb', *RUNTIME_OF):
        return stated
    raise UsageError(f'{stated} does not run {shown(path)}: use --runtime={usual}'
                     + ' or openvino' * (suffix in ('.pb', *RUNTIME_OF)))


def python(environment: str) -> str:
    """Return the Python of .venv/<environment>; build it if necessary. Raises UserError."""
    if subprocess.call([os.path.join(ROOT, 'tools', 'setup.sh'), environment],
                       stdin=subprocess.DEVNULL):
        raise UserError(f'this needs the environment {environment}: fix what tools/setup.sh '
                        'reports above')
    return os.path.join(ROOT, '.venv', environment, 'bin', 'python')


class Child:
    """A running child. Use it as a context manager.

    `version` is that of its library, and `folder` a temporary one, for files that it is to read.
    """

    def __init__(self, module: str, environment: str, **variables: str):
        """Start `module` in `environment`, with environment variables. Raises UserError."""
        self._module, self._environment = module, environment
        self._log = tempfile.TemporaryFile()
        self._folder = tempfile.TemporaryDirectory()
        self.folder = self._folder.name
        with isolation.usual_stack():
            self._process = subprocess.Popen(
                [python(environment), '-m', module], cwd=ROOT, stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, stderr=self._log, universal_newlines=True,
                env=dict(os.environ, **variables))
        self.version = self._answer()['version']

    def __enter__(self) -> 'Child':
        return self

    def __exit__(self, *unused: object) -> None:
        with contextlib.suppress(BrokenPipeError):  # it has ended
            self._process.stdin.close()
        self._process.stdout.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()
        self._folder.cleanup()

    @property
    def is_running(self) -> bool:
        """False once the child has ended: it has crashed."""
        return self._process.poll() is None

    def ask(self, **request: Any) -> Dict[str, Any]:
        """Return the answer to `request`. Raises UserError if the child cannot answer."""
        try:
            self._process.stdin.write(json.dumps(request) + '\n')
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # it has ended: _answer says why
        answer = self._answer()
        if 'error' in answer:
            raise UserError(f"{self._environment}: {printable(answer['error'])}")
        return answer

    def _answer(self) -> Dict[str, Any]:
        line = self._process.stdout.readline()
        if line:
            return json.loads(line)
        code = self._process.wait()
        self._log.seek(0)
        last = (self._log.read().decode('utf-8', 'replace').strip().splitlines() or [''])[-1]
        raise UserError(f'{self._environment} exited with code {code}: '
                        f'{printable(one_line(last)) or "it printed nothing"} (run '
                        f'.venv/{self._environment}/bin/python -m {self._module} to see more)')


def runtime(name: str) -> Child:
    """Start the runtime `name`, one of RUNTIMES. Raises UserError."""
    return Child(f'permafrost.evaluation.runtimes.{name}_server', name)


def save(path: str, array: np.ndarray) -> None:
    """Write an array to a temporary file. Raises UserError if it does not fit on the disk."""
    try:
        np.save(path, array)
    except OSError as error:  # of NumPy's own, without errno
        raise UserError(f'cannot write {array.nbytes / 1e6:.0f} MB to {os.path.dirname(path)} '
                        f'({error}): free disk space, or set TMPDIR') from error


def predict(child: Child, path: str, images: np.ndarray, batch_size: int = BATCH_SIZE,
            output: Optional[str] = None) -> np.ndarray:
    """Return the outputs [N, classes], in their own type, of the file at `path` for `images`.

    They have the type and the layout that the file is fed. `batch_size` of them go in at a time;
    `output` is the name of the output, None for the first. Raises UserError if the runtime cannot
    run the file.
    """
    source, target = (os.path.join(child.folder, name) for name in ('images.npy', 'output.npy'))
    save(source, images)
    child.ask(predict=os.path.abspath(path), images=source, output=target, batch_size=batch_size,
              fetch=output)
    return np.load(target)
