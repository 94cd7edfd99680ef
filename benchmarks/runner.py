"""Run a benchmark by name, and record its result as json; the programs that benchmarks run."""

import importlib
import os
import re
import shlex
import subprocess
import sys
from typing import List, NamedTuple, Optional

import models
from permafrost import files
from permafrost.cli.commands import ROOT
from permafrost.errors import UsageError, UserError, printable, unknown_name_error

# Modules of this folder with `benchmark(options)`, which returns the result to record, or None.
# Import a module only when it runs: some read facts about the machine before TensorFlow starts.
BENCHMARKS = ('pipeline', 'inference', 'latency', 'deploy', 'training', 'cluster', 'scaling')
CIFAR10_ONLY = ('deploy', 'inference', 'training')
WITHOUT_ROUNDS = ('latency', 'deploy', 'scaling')  # they choose how long to measure, or do not
LABEL_IMAGE = os.path.join(ROOT, 'label_image', 'build', 'label_image')


class Options(NamedTuple):
    """Options of a benchmark."""
    models: Optional[List[str]] = None  # None: the benchmark's own
    rounds: int = 8
    seconds: float = 8.  # per measurement; inference and training: per eight measurements
    results: str = 'results'  # directory to record in
    dataset: str = 'cifar10'
    data_dir: Optional[str] = None

    def train_flags(self, model: str) -> List[str]:
        """Return the flags with which train.py trains `model` on the dataset."""
        data_dir = ['--data_dir=' + self.data_dir] if self.data_dir else []
        return ['--model=' + model, '--dataset=' + self.dataset] + data_dir


def graph_of(model: str) -> str:
    """Return the path of the frozen graph that trained_models/ has, or would have, of `model`."""
    return os.path.join(ROOT, 'trained_models', model + '.pb')


def run(name: str, options: Options) -> None:
    """Run benchmark `name`, and record its result as benchmark-<name>[-<engine>].json.

    The file name has no engine if the benchmark runs several. Raises UsageError for an unknown
    benchmark or model, UserError for failures.
    """
    if name not in BENCHMARKS:
        raise unknown_name_error('benchmark', name, BENCHMARKS)
    if options.models == ['all']:
        known = [model for model in models.MODELS
                 if name != 'deploy' or os.path.exists(graph_of(model))]
        options = options._replace(models=known)
    for model in options.models or []:
        if model not in models.ALL and not (name == 'deploy' and model.endswith('.pb')):
            raise unknown_name_error('model', model, models.ALL)
    if name in CIFAR10_ONLY and options.dataset != 'cifar10':
        raise UsageError(f'{name} times networks for CIFAR-10: leave --dataset out')
    for field in ('rounds', 'seconds') if name in WITHOUT_ROUNDS else ():
        if getattr(options, field) != getattr(Options(), field):
            raise UsageError(f'{name} does not use --{field}: leave it out')
    folder = os.path.abspath(options.results)
    while not os.path.lexists(folder):
        folder = os.path.dirname(folder)
    if not (os.path.isdir(folder) and os.access(folder, os.W_OK)):
        raise UsageError(f'--results={printable(options.results)} cannot be written: name another '
                         'directory')
    result = importlib.import_module('benchmarks.' + name).benchmark(options)
    if result is not None:
        os.makedirs(options.results, exist_ok=True)
        engine = '-' + result['engine'] if 'engine' in result else ''
        path = os.path.join(options.results, f'benchmark-{name}{engine}.json')
        # Without directories of this machine.
        arguments = [name] + [re.sub(r'(^|(?<=[,=]))/[^,]*/', '', argument)
                              for argument in sys.argv[1:] if argument != name]
        command = 'python -m benchmarks ' + ' '.join(map(shlex.quote, arguments))
        files.write_json(path, dict(result, benchmark=name, command=command))
        print('recorded: ' + path, flush=True)


def output_of(*command: str) -> str:
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
    return output_of(sys.executable, script, *arguments)


def build_label_image() -> None:
    """Build label_image unless it is built. Raises UserError."""
    output_of('flock', 'label_image', 'make', '-s', '-C', 'label_image')


def train_and_freeze(model: str, folder: str, options: Options, *flags: str) -> str:
    """Return the path of a frozen graph of `model` in `folder`, trained with `flags`."""
    directory, path = os.path.join(folder, 'runs', model), os.path.join(folder, model + '.pb')
    run_script('train.py', *options.train_flags(model), *flags, f'--run={directory}')
    run_script('freeze_graph.py', f'--run={directory}', f'--output={path}')
    return path
