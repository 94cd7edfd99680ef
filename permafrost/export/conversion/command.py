"""The files that the flags of freeze_graph.py ask for: a run frozen, a frozen graph converted."""

import os
from typing import Optional, Sequence

from absl import flags

from permafrost import engines, runs
from permafrost.config import Config
from permafrost.datasets import loading
from permafrost.errors import UsageError, UserError
from permafrost.evaluation.frozen_graphs import file_kinds
from permafrost.evaluation.frozen_graphs.reading import isolation
from permafrost.evaluation.runtimes import client
from permafrost.export import formats
from permafrost.export.conversion import output_paths

RUN_FLAGS = ('run', 'step', 'weights', 'saved_model')


def run(values: flags.FlagValues) -> Optional[str]:
    """Write the files that `values` ask for; return the run, None with --graph.

    Raises UsageError if flags do not fit each other, UserError if a file cannot be read or written.
    """
    targets = formats.chosen(values)
    if values['max_loss'].present and not targets:
        raise UsageError('--max_loss applies only to converted files: add e.g. '
                         '--formats pb,tflite')
    if values.graph:
        _check_graph(values, targets)
    directory = None if values.graph else values.run or runs.latest_run(values.log_dir)
    config = runs.read_config(directory)[0] if directory else None  # before the slow import
    frozen = values.graph or values.output or os.path.join(directory, config.model + '.pb')
    _check_output_paths(values, targets, frozen, config)
    for environment in sorted({name for target in targets
                               for name in formats.FORMATS[target.format].environments}):
        client.python(environment)  # builds it, before the slow part
    if values.graph:
        isolation.continue_in_child(values.graph)
    session_config = engines.prepare()
    from permafrost.export import freeze  # imports TensorFlow, after its threads are set
    from permafrost.export.conversion import exporting
    data = (loading.open_for_run(config, values.dataset, values.data_dir) if config else
            loading.open_dataset(values.dataset or 'cifar10', values.data_dir))
    if directory:
        freeze.freeze(directory, session_config, values.step, values.weights, values.output,
                      values.saved_model, data)
    if targets:
        exporting.export(frozen, targets, data, session_config, values.max_loss, values.output)
    return directory


def _check_graph(values: flags.FlagValues, targets: Sequence[formats.Target]) -> None:
    """Raise UserError if --graph names no frozen graph, or other flags do not fit it."""
    given = [name for name in RUN_FLAGS if values[name].present]
    if given or not targets:
        raise UsageError(f'--{given[0]} is for a run, not for --graph: leave one out' if given else
                         '--graph is already frozen: choose e.g. --formats tflite')
    if os.path.isdir(values.graph):
        raise UsageError('--graph must be a .pb file that freeze_graph.py wrote, not a directory')
    file_kinds.check_graph_file(values.graph)


def _check_output_paths(values: flags.FlagValues, targets: Sequence[formats.Target], frozen: str,
                  config: Optional[Config]) -> None:
    """Raise UserError, before the slow part, if a file cannot have its name.

    `config` is that of the run to freeze to the file `frozen`, None with --graph.
    """
    if config:
        output_paths.description_path(frozen, config.model)
    elif values.output:
        output_paths.check_suffix(values.output)
    if values.saved_model:
        output_paths.check_new(values.saved_model)
    for target in targets:
        path = target.path(values.output or frozen)
        taken = [path] if target.format == 'saved_model' and os.path.lexists(path) else []
        taken += [path + end for end in ('', '.json', '.cc', '.h') if os.path.isdir(path + end)]
        if taken:
            raise UserError(f'{taken[0]} exists: remove it, or name another --output')
