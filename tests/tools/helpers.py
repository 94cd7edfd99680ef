"""Copies of some files of the repository, on a machine that has only what a test gives it."""

import os
import shutil
import signal
import subprocess
import sys

from permafrost.cli import commands
from tests.processes import ROOT

TOOLS = ('awk bash cat cut df dirname env grep head kill ln mkdir readlink rm sed sha256sum '
         'sleep tail tee touch uname').split()
SCRIPTS = {verb: script for script, verb in commands.VERBS.items() if script.endswith('.py')}
VOLUME = '/dev/shm'  # on any Linux this is a mount of its own, as a volume of a container is


def read(name):
    """Return the text of a file of the repository."""
    with open(os.path.join(ROOT, name)) as stream:
        return stream.read()


def write_script(path, text):
    """Write an executable bash script."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('#!/bin/bash\n' + text)
    path.chmod(0o755)


def one_line(text):
    """Return `text`, which must be one line."""
    assert text.count('\n') == 1, text
    return text


class Checkout:
    """A copy of the files `names`, with a PATH that has only TOOLS and no network."""

    def __init__(self, folder, *names):
        self.folder = folder
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(os.path.join(ROOT, name), str(folder / name))
        self.bin = folder / 'path'
        self.bin.mkdir()
        for tool in TOOLS:
            (self.bin / tool).symlink_to(shutil.which(tool))
        self.environment = {
            'PATH': str(self.bin), 'HOME': str(folder / 'home'), 'PYENV_ROOT': '/nonexistent',
            'PIP_CONFIG_FILE': os.devnull, 'PIP_INDEX_URL': 'http://127.0.0.1:9/simple'}

    def start(self, *command):
        """Start a bash script and return its Popen."""
        return subprocess.Popen(
            ['bash', *command], cwd=str(self.folder), env=self.environment,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            universal_newlines=True,
            # The tests may run in the background, where SIGINT is ignored, and bash cannot trap a
            # signal that was ignored when it started.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))

    def run(self, *command):
        """Run a bash script to its end; return (exit code, stdout, stderr)."""
        process = self.start(*command)
        stdout, stderr = process.communicate(timeout=120)
        return process.returncode, stdout, stderr

    def add_python(self):
        """Put this Python on the PATH."""
        version = '.'.join(map(str, sys.version_info[:2]))
        executable = os.path.realpath(sys.executable)
        write_script(self.bin / f'python{version}', f'exec {executable} "$@"\n')
