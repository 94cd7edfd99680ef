"""The benchmarks by name. Each measures, prints a table and records a json file."""

import importlib
import os
import shlex
import sys
import typing

import models
from permafrost import files
from permafrost.errors import UsageError, unknown_name_error

# name -> what it measures; the module of that name has `benchmark(options)`, which returns
# what to record. A module is imported when it runs: some must see the machine before
# TensorFlow does.
BENCHMARKS = {
    'pipeline': 'training through the input pipeline and without it, start-up, memory',
    'inference': 'frozen graphs in label_image on all engines, and in other runtimes',
    'training': 'forward, backward and steps on all engines, and in PyTorch',
    'cluster': 'training on 1 server and 1 or 2 workers of this host, and without them',
    'threads': 'training with several settings of threads and MKL',
}
OF_CIFAR10 = ('inference', 'training')  # they take no other data set


class Options(typing.NamedTuple):
    """What a benchmark is asked for; None: its own choice."""
    models: typing.Optional[typing.List[str]]
    rounds: typing.Optional[int]
    seconds: float  # that one timing takes; of inference and training, eight of them
    results: typing.Optional[str]  # folder to record in; None: nothing is recorded
    dataset: str
    data_dir: typing.Optional[str]


def run(name, options):
    """Runs benchmark `name`, and records what it found as benchmark-<name>-<engine>.json.

    What ran on several engines has none in its name.

    Raises UsageError for an unknown benchmark or model, UserError for what stops it.
    """
    if name not in BENCHMARKS:
        raise unknown_name_error('benchmark', name, BENCHMARKS)
    if options.models == ['all']:
        options = options._replace(models=list(models.MODELS))
    for model in options.models or []:
        if model not in models.MODELS:
            raise unknown_name_error('model', model, models.MODELS)
    if name in OF_CIFAR10 and options.dataset != 'cifar10':
        raise UsageError('%s times networks for CIFAR-10: leave --data_set out' % name)
    found = importlib.import_module('benchmarks.' + name).benchmark(options)
    if options.results is not None:
        os.makedirs(options.results, exist_ok=True)
        name_parts = ['benchmark', name] + ([found['engine']] if 'engine' in found else [])
        path = os.path.join(options.results, '-'.join(name_parts) + '.json')
        command = [sys.argv[0], name] + sys.argv[1:]
        files.write_json(path, dict(found, benchmark=name,
                                     command='python ' + ' '.join(map(shlex.quote, command))))
        print('recorded: ' + path, flush=True)
