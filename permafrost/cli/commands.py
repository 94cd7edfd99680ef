"""Commands to run next, as the user can paste them into the shell that started this process."""

import os
import shlex
import shutil
import sys

from permafrost.errors import printable

ROOT = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..'))
# The front door's name for each script; the other scripts are named by their paths.
VERBS = {'train.py': 'train', 'train_cluster.py': 'cluster', 'eval.py': 'eval',
         'freeze_graph.py': 'freeze', 'info.py': 'info', 'compare.py': 'compare',
         'tools/get_data.py': 'data', 'tools/make_tfrecords.py': 'pack',
         'tools/doctor.py': 'doctor', 'sweep.py': 'sweep',
         'tools/local_cluster.py': 'local_cluster', 'tools/sample_images.py': 'samples'}


def next_command(script: str, *arguments: str) -> str:
    """Return a command line that runs `script`, a path in the repository, with `arguments`.

    It begins as the user's own command did: PERMAFROST_COMMAND (set by bin/permafrost and by the
    container image) and a verb, or this Python and the script's path.
    """
    front_door = os.environ.get('PERMAFROST_COMMAND')
    if front_door and script in VERBS:
        begin = [*shlex.split(front_door), VERBS[script]]
    else:
        begin = [_python(), _short(os.path.join(ROOT, script))]
    return printable(' '.join(map(shlex.quote, [*begin, *arguments])))


def _python() -> str:
    """Return the shortest name of the running interpreter: another may have another engine."""
    for name in ('python', 'python3'):
        path = shutil.which(name)
        if path and _folder(path) == _folder(sys.executable):
            return name
    return _short(sys.executable)


def _folder(executable: str) -> str:
    return os.path.realpath(os.path.dirname(executable))


def _short(path: str) -> str:
    """Return `path` from the working directory if it is below it."""
    relative = os.path.relpath(path)
    return os.path.abspath(path) if relative.startswith(os.pardir) else relative
