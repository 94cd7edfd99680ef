"""Latency in C++ of every model that has a result, timed in turn: for the picture in README.md."""

import os
import subprocess
import sys
import tempfile
from typing import Any, Dict, List

from benchmarks import measure
from benchmarks.runner import Options
from permafrost import engines
from permafrost.cli.commands import ROOT
from permafrost.datasets import registry
from permafrost.errors import UserError
from permafrost.experiments import latency, model_info, results
from permafrost.recipes import catalog

BATCH_SIZE = 16  # of the one step that is trained: weights do not affect the time
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
        graphs = {_frozen_graph(name, folder, options): name for name in names}
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


def _frozen_graph(model: str, folder: str, options: Options) -> str:
    """Return the path of the frozen graph of `model`, trained for a step with its recipe."""
    run, path = os.path.join(folder, 'runs', model), os.path.join(folder, model + '.pb')
    _run('train.py', *options.train_flags(model), '--steps=1', f'--set=batch_size={BATCH_SIZE}',
         f'--run={run}', '--eval_epochs=0')
    _run('freeze_graph.py', f'--run={run}', f'--output={path}')
    return path


def _run(script: str, *arguments: str) -> None:
    command: List[str] = [sys.executable, os.path.join(ROOT, script), *arguments]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, universal_newlines=True)
    if done.returncode:
        raise UserError(f"{script} failed: {(done.stdout.splitlines() or [''])[-1]}")
