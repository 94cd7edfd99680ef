"""Latency in C++ of every model that has a result, timed in turn: for the picture in README.md."""

import os
import tempfile
from typing import Any, Dict

from benchmarks import measure, runner
from benchmarks.runner import Options
from permafrost import engines
from permafrost.cli.commands import ROOT
from permafrost.datasets import registry
from permafrost.errors import UserError
from permafrost.experiments import latency, model_info, results
from permafrost.recipes import catalog

# One small step: weights do not affect the time.
TRAIN_FLAGS = ('--steps=1', '--set=batch_size=16', '--eval_epochs=0')
PASSES = 3  # over all graphs: one may meet a busy machine


def benchmark(options: Options) -> Dict[str, Any]:
    """Measure, print a table, and return the result to record.

    A figure is the lowest latency of the passes: what else the machine does can only add to it.
    """
    recorded = results.load(os.path.join(ROOT, 'results'))
    names = options.models or sorted({result['model'] for result in recorded})
    if not names:
        raise UserError('no model has a result in results/: name models with --models')
    with tempfile.TemporaryDirectory() as folder:
        graphs = {runner.train_and_freeze(name, folder, options, *TRAIN_FLAGS): name
                  for name in names}
        passes = [latency.time_in_turn(list(graphs)) for _ in range(PASSES)]
    if not all(passes):
        raise UserError('no graph could be timed: see the notes above')
    figures = {name: measure.measurement([min(times[path].latency_ms for times in passes)], 'ms')
               for path, name in graphs.items() if all(path in times for times in passes)}
    measure.print_table(figures)
    engines.prepare()
    classes = len(registry.describe(options.dataset, options.data_dir).classes)
    first = next(iter(passes[0].values()))
    rounds = sum(next(iter(times.values())).rounds for times in passes)
    return dict(measure.machine_facts(), figures=figures, rounds=rounds, batch_size=1, threads=1,
                allocator=first.allocator,
                versions={'engine': engines.installed(), 'tensorflow': first.library},
                ops={name: model_info.measure_model(name, catalog.image_size(name), classes)['ops']
                     for name in names})
