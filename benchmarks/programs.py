"""The programs that benchmarks run: make, scripts of this repository and label_image."""

import os
import subprocess
import sys

from benchmarks.runner import Options
from permafrost.cli.commands import ROOT
from permafrost.errors import UserError

LABEL_IMAGE = os.path.join(ROOT, 'label_image', 'build', 'label_image')


def run(*command: str) -> str:
    """Return what `command` writes to stdout; it runs in the repository.

    Raises UserError with the last line of its output if it fails.
    """
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, universal_newlines=True, cwd=ROOT)
    if done.returncode:
        last = ((done.stderr.strip() or done.stdout.strip()).splitlines() or ['no output'])[-1]
        name = os.path.basename(command[1 if command[0] == sys.executable else 0])
        raise UserError(f'{name} failed: {last}')
    return done.stdout


def run_script(script: str, *arguments: str) -> str:
    """Return what a script of this repository writes to stdout. Raises UserError."""
    return run(sys.executable, script, *arguments)


def build_label_image() -> None:
    """Build label_image unless it is built. Raises UserError."""
    run('flock', 'label_image', 'make', '-s', '-C', 'label_image')


def train_and_freeze(model: str, folder: str, options: Options, *flags: str) -> str:
    """Return the path of a frozen graph of `model` in `folder`, trained with `flags`."""
    directory, path = os.path.join(folder, 'runs', model), os.path.join(folder, model + '.pb')
    run_script('train.py', *options.train_flags(model), *flags, f'--run={directory}')
    run_script('freeze_graph.py', f'--run={directory}', f'--output={path}')
    return path
