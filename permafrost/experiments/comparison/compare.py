"""Compare: runs and results become a Comparison; what was not measured yet is measured now."""

import contextlib
import dataclasses
import gzip
import os
import sys
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np

from permafrost import engines, machine, runs
from permafrost.cli.commands import next_command
from permafrost.datasets import loading
from permafrost.errors import UserError, printable
from permafrost.experiments import latency, model_info
from permafrost.experiments.comparison import entries as entry_files, intervals, selection
from permafrost.experiments.comparison.entries import Entry
from permafrost.experiments.comparison.grouping import Group, group
from permafrost.experiments.comparison.table import Comparison, Row
from permafrost.experiments.reports import run_facts, run_report
from permafrost.experiments.sweeps import exports


def compare(arguments: Sequence[str], baseline: Optional[str] = None, split: Optional[str] = None,
            by_run: bool = False, measure: bool = True) -> Comparison:
    """Return the Comparison of what `arguments` name: see selection.select.

    `split` is that of the accuracies, by default 'validation' if every run holds images out, else
    'test'. With `measure`, finished runs that have no accuracy at their last step are evaluated,
    and a run of each row is frozen and timed. What it does is printed on stderr. Raises UserError
    if nothing can be compared.
    """
    entries, notes = _read_entries(arguments)
    split = _choose_split(entries, split)
    group(entries, by_run, baseline)  # refuses an unknown baseline before anything is evaluated
    with contextlib.redirect_stdout(sys.stderr):  # only the answer goes to stdout
        session_config = engines.prepare()
        entries = [_evaluated(entry, split, session_config if measure else None, notes)
                   for entry in entries]
        groups = group(entries, by_run, baseline)
        graphs = _freeze(groups, session_config, notes) if measure else {}
        times = latency.time_in_turn(list(graphs.values())) if graphs else {}
        sizes: Dict[Any, Dict[str, Any]] = {}
        rows = [_row(each, sizes, notes) for each in groups]
        for number, graph in graphs.items():
            rows[number] = dataclasses.replace(
                rows[number], **_measured_size(groups[number], graph),
                latency=times[graph].latency_ms if graph in times else None)
            if graph in times and graph.endswith('.pb'):
                run = os.path.dirname(graph)
                latency.record(run, graph, times[graph])
                if os.path.exists(os.path.join(run, run_report.NAME)):
                    run_report.write(run)  # it shows the latency
    rows = [rows[0], *(_with_difference(row, rows[0]) for row in rows[1:])]
    return Comparison(
        title=', '.join(dict.fromkeys(printable(os.path.normpath(each)) for each in arguments)),
        rows=tuple(rows), settings=tuple(groups[0].settings), split=split,
        latency_of=_describe(times), notes=tuple(notes))


def _read_entries(arguments: Sequence[str]) -> Tuple[List[Entry], List[str]]:
    """Return what `arguments` name, and notes on what was left out. Raises UserError if all was."""
    selected, notes = selection.select(arguments)
    entries: List[Entry] = []
    for each in selected:
        try:
            entries += (entry_files.read_result(each) if each.is_result
                        else [entry_files.read_run(each)])
        except UserError as error:
            notes.append(f'left out: {error}')
        except OSError as error:
            notes.append(f'left out: {error.filename}: {error.strerror}')
    if not entries:
        raise UserError('; '.join(notes))
    return entries, notes


def _choose_split(entries: Sequence[Entry], split: Optional[str]) -> str:
    """Return `split` or the default. Raises UserError if an entry lacks its accuracies."""
    if split is None:
        split = 'validation' if all(each.validation for each in entries) else 'test'
    if split != 'test' and any(not each.is_run for each in entries):
        raise UserError('results/*.json contain only test accuracies: leave out --split, or '
                        'name only runs')
    return split


def _evaluated(entry: Entry, split: str, session_config: Any, notes: List[str]) -> Entry:
    """Return `entry` with its accuracy; evaluate a finished run if `session_config` is given."""
    if not entry.is_run:
        return entry
    if entry.export:
        return _exported(entry, split, session_config, notes)
    if split == 'validation' and not entry.validation:
        notes.append(f'{printable(entry.path)}: held no images out for validation')
        return entry
    entry = entry_files.with_accuracy(entry, split)
    if entry.accuracy is not None or not entry.is_finished or session_config is None:
        return entry
    from permafrost.evaluation import evaluator, metrics  # import TensorFlow
    from permafrost.training.checkpoints import finding
    try:
        with evaluator.Evaluator(entry.path, session_config, split) as run:
            if not run.same_data:
                raise UserError('its dataset has changed: restore it, or train again')
            found = run.evaluate(*finding.find_checkpoint(entry.path, None))
        print(f'{printable(entry.path)}: {metrics.format_totals(found)}', flush=True)
        if found['step'] == entry.step:  # it may not be recorded: on a read-only disk
            return dataclasses.replace(entry, accuracy=found['accuracy'], images=found['images'])
    except UserError as error:
        notes.append(f'{printable(entry.path)}: not evaluated: {error}')
    return entry_files.with_accuracy(entry, split)


def _exported(entry: Entry, split: str, session_config: Any, notes: List[str]) -> Entry:
    """Return the `entry` of an exported file with that file's accuracy.

    The file is made if `session_config` is given.
    """
    graph, name = _graph_of(entry), printable(_file_of(entry))
    if split != 'test':
        notes.append(f'{name}: measured on test images only: add --split test')
        return entry
    found = exports.read(graph, entry.export)
    if found is None and entry.is_finished and session_config is not None:
        from permafrost.export import freeze  # imports TensorFlow
        from permafrost.export.conversion import exporting
        try:
            if not os.path.isfile(graph):
                freeze.freeze(entry.path, session_config)
            exporting.export(graph, [exports.TARGETS[entry.export]],
                             loading.open_for_run(runs.read_config(entry.path)[0]),
                             session_config, max_loss=100)  # a comparison shows every loss
            found = exports.read(graph, entry.export)
        except UserError as error:
            notes.append(f'{name}: not made: {error}')
    if not found:
        return entry
    problem = _other_graph(entry) or _other_dataset(found.get('dataset_identity', ''), entry)
    if problem:
        again = next_command('freeze_graph.py', '--run', entry.path)
        notes.append(f'{name}: {problem}: run {again} to make it again')
        return entry
    return dataclasses.replace(entry, accuracy=found['accuracy'], images=found['images'])


def _other_graph(entry: Entry) -> str:
    """Return why an exported file is not made of what the run is compared with; '' if it is."""
    card = run_facts.frozen(entry.path, entry.model)
    if card is None:
        return ''
    if card.step != entry.step:
        return f'made at step {card.step}, but the run is at step {entry.step}'
    if card.weights not in (None, '', entry.weights):
        return (f'made of the {card.weights} weights, but the run is judged by the '
                f'{entry.weights} ones')
    return _other_dataset(card.dataset_identity or '', entry)


def _other_dataset(identity: str, entry: Entry) -> str:
    """Return that a file was measured on another dataset than that of the run; '' if not."""
    is_other = len({identity, entry.dataset_identity} - {''}) > 1
    return 'measured on another dataset than that of the run' if is_other else ''


def _freeze(groups: Sequence[Group], session_config: Any, notes: List[str]) -> Dict[int, str]:
    """Return {number of the row: file of one of its runs}; freeze those that are not frozen."""
    from permafrost.export import freeze  # imports TensorFlow
    graphs = {}
    for number, each in enumerate(groups):
        stopped = [entry for entry in each.entries if entry.is_run
                   and entry.state not in ('running', 'empty', 'not started')]
        stopped.sort(key=lambda entry: not entry.is_finished)
        frozen = next((entry for entry in stopped if os.path.isfile(_file_of(entry))), None)
        if frozen:
            graphs[number] = _file_of(frozen)
            _note_old_graph(frozen, notes)
        elif stopped and not stopped[0].export:
            try:
                freeze.freeze(stopped[0].path, session_config)
                graphs[number] = _graph_of(stopped[0])
            except UserError as error:
                notes.append(f'{printable(stopped[0].path)}: not frozen: {error}')
    return graphs


def _note_old_graph(entry: Entry, notes: List[str]) -> None:
    card = run_facts.frozen(entry.path, entry.model)
    if card is not None and card.step != entry.step and not entry.export:
        notes.append(f'{printable(_graph_of(entry))}: frozen at step {card.step}, but the '
                     f'run is at step {entry.step}: its size and latency are of that graph')


def _graph_of(entry: Entry) -> str:
    """Return the path at which freeze writes the graph of a run."""
    return os.path.join(entry.path, entry.model + '.pb')


def _file_of(entry: Entry) -> str:
    """Return the path of the file that an entry is about."""
    return exports.path_of(_graph_of(entry), entry.export)


def _measured_size(group_of_row: Group, path: str) -> Dict[str, Any]:
    """Return the fields of Row that tell how large the file at `path` is.

    Pruning makes parameters and operations fewer than those of the model.
    """
    with open(path, 'rb') as stream:
        content = stream.read()
    size = {'bytes': len(content), 'gzip_bytes': len(gzip.compress(content))}
    entry = next(each for each in group_of_row.entries if each.is_run and _file_of(each) == path)
    if any(entry.settings[name] != '0' for name in ('sparsity', 'structured_sparsity')):
        size.update(_counts_of_graph(entry, 'params', 'ops', 'sparsity'))
    return size


def _counts_of_graph(entry: Entry, *names: str) -> Dict[str, Any]:
    """Return {name: count} of what is known of the frozen graph of a run."""
    card = run_facts.frozen(entry.path, entry.model)
    counts = {name: getattr(card, name, None) for name in names}
    return {name: count for name, count in counts.items() if count is not None}


def _row(group_of_row: Group, sizes: Dict[Any, Dict[str, Any]], notes: List[str]) -> Row:
    entries = group_of_row.entries
    first = entries[0]
    # A run that is still training, or failed, would change the mean.
    finished = [entry for entry in entries if entry.is_finished and entry.accuracy is not None]
    accuracies = tuple(entry.accuracy for entry in finished)
    images = finished[0].images if finished else 0
    seconds = [entry.train_seconds for entry in finished if entry.train_seconds]
    hardware = sorted({name for entry in finished for name in entry.hardware})
    size = _counts(first, sizes, notes)
    return Row(
        name=group_of_row.name, model=first.model, settings=group_of_row.settings,
        seeds=tuple(entry.seed for entry in finished),
        runs=tuple(entry.path for entry in entries if entry.is_run), accuracies=accuracies,
        images=images, mean=float(np.mean(accuracies)) if accuracies else None,
        std=intervals.standard_deviation(accuracies),
        interval=intervals.of_mean(accuracies, images) if accuracies else None,
        params=size.get('params'), ops=size.get('ops'),
        train_seconds=float(np.mean(seconds)) if seconds and len(hardware) == 1 else None,
        gpu=hardware[0] if len(hardware) == 1 else '',
        curves=tuple(entry.curve for entry in entries if entry.curve),
        recipe=first.settings['recipe'],
        notes=tuple(f'seed {entry.seed}: {entry.progress()}' + ', not evaluated' * entry.is_finished
                    for entry in entries if not entry.is_finished or entry.accuracy is None))


def _counts(entry: Entry, sizes: Dict[Any, Dict[str, Any]], notes: List[str]) -> Dict[str, Any]:
    """Return the 'params' and 'ops' of an entry's network; `sizes` keeps those of each model."""
    if entry.params is not None:  # a result, maybe of a model that is gone, or pruned
        return {'params': entry.params, 'ops': entry.ops}
    if entry.settings.get('structured_sparsity', '0') != '0':  # freezing removes filters
        return _counts_of_graph(entry, 'params', 'ops')
    key = (entry.model, entry.image_size, entry.classes)
    if key not in sizes:
        try:
            sizes[key] = model_info.measure_model(*key)
        except UserError as error:
            sizes[key] = {}
            notes.append(f'{printable(entry.path)}: not counted: {error}')
    return sizes[key]


def _with_difference(row: Row, base: Row) -> Row:
    if not row.accuracies or not base.accuracies:
        return row
    return dataclasses.replace(row, difference=intervals.difference(
        row.accuracies, row.images, base.accuracies, base.images))


def _describe(times: Dict[str, latency.Latency]) -> str:
    if not times:
        return ''
    one = next(iter(times.values()))
    libraries = ', '.join(dict.fromkeys(
        f'{each.runtime} {each.library}' for each in times.values()))
    return (f'one image, one thread, {libraries}, {one.rounds} rounds in turn, on '
            f"{machine.cpu_info('model name') or 'this processor'}")
