"""Run a benchmark by name, and record its result as json."""

import importlib
import os
import re
import shlex
import sys
from typing import List, NamedTuple, Optional

import models
from permafrost import files
from permafrost.cli.commands import ROOT
from permafrost.errors import UsageError, printable, unknown_name_error

# Modules of this folder with `benchmark(options)`, which returns the result to record, or None.
# Import a module only when it runs: some read facts about the machine before TensorFlow starts.
BENCHMARKS = ('pipeline', 'inference', 'latency', 'deploy', 'training', 'cluster', 'scaling')
CIFAR10_ONLY = ('deploy', 'inference', 'training')
WITHOUT_ROUNDS = ('latency', 'deploy', 'scaling')  # they choose how long to measure, or do not


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
