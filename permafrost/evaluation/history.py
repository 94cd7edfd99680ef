"""History of a run: results.csv, one row for each evaluation while training; metrics.jsonl."""

import contextlib
import csv
import dataclasses
import glob
import io
import os
import typing
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple

from permafrost import files, runs, schema
from permafrost.config import Config
from permafrost.errors import UsageError, UserError, printable
from permafrost.recipes import durations
from permafrost.schema import limited

FILE = 'results.csv'
MAX_BYTES = 10**8
SELECTION_SPLIT = 'validation'  # the split that may choose a checkpoint; the test images must not


@dataclasses.dataclass(frozen=True)
class EpochRow:
    """A row of results.csv.

    train_loss and train_accuracy are means over the steps since the row before, of augmented
    images and with dropout; None if they are unknown, as at the first row of an earlier version's
    run. train_loss is the cross entropy, without weight decay. eval_loss (cross entropy) and
    eval_accuracy are of the inference graph, with averaged weights if the recipe averages, on all
    images of eval_split. Accuracies are fractions. No time includes evaluations.
    """
    epoch: float = limited(minimum=0)
    step: int = limited(minimum=0)
    train_loss: Optional[float] = limited(minimum=0)
    train_accuracy: Optional[float] = limited(minimum=0, maximum=1)
    eval_split: str = limited(names=('validation', 'test'))
    eval_loss: float = limited(minimum=0)
    eval_accuracy: float = limited(minimum=0, maximum=1)
    learning_rate: float = limited()  # of the last step
    images_per_second: float = limited(minimum=0)  # since the row before, or the start
    train_seconds: float = limited(minimum=0)  # of the whole run


COLUMNS = tuple(field.name for field in dataclasses.fields(EpochRow))
_PARSERS = {name: (lambda text: float(text) if text else None) if hint == Optional[float] else hint
            for name, hint in typing.get_type_hints(EpochRow).items()}


@dataclasses.dataclass
class MetricsLine:
    """The fields of a line of metrics.jsonl that are read. Early lines lack the last two."""
    step: int = limited(minimum=0)
    images: int = limited(minimum=1)
    accuracy: float = limited(minimum=0, maximum=1)
    confusion: Tuple[Tuple[int, ...], ...] = limited((), minimum=0)
    weights: str = limited('', names=('averaged', 'raw'))
    dataset_identity: str = ''


def newest_metrics(run: str, split: str, weights: str) -> Iterator[Dict[str, Any]]:
    """Yield the lines of metrics.jsonl as MetricsLine describes them, the newest first.

    Skip what is damaged, and lines that name other weights, 'averaged' or 'raw', or another dataset
    than the run's.
    """
    path = os.path.join(run, 'eval', split, 'metrics.jsonl')
    identity = None
    with contextlib.suppress(UserError):
        identity = runs.read_config(run)[1].get('dataset_identity')
    with contextlib.suppress(OSError), files.open_regular(path) as stream:
        stream.seek(max(0, os.path.getsize(path) - MAX_BYTES))
        for line in reversed(stream.read(MAX_BYTES).splitlines()):
            with contextlib.suppress(UsageError, ValueError):
                metrics = schema.check(files.parse_json(line), MetricsLine)
                is_of_run = not identity or metrics.get('dataset_identity', identity) == identity
                if is_of_run and metrics.get('weights', weights) == weights:
                    yield metrics


def drop_metrics_after(run: str, step: int) -> None:
    """Remove the lines of metrics.jsonl that are of later steps: those will be made again."""
    for path in glob.glob(os.path.join(glob.escape(run), 'eval', '*', 'metrics.jsonl')):
        with contextlib.suppress(OSError):  # a run that may not be changed is not trained either
            with files.open_regular(path) as stream:
                lines = stream.read().splitlines(True)
            kept = [line for line in lines if _step_of(line) <= step]
            if len(kept) < len(lines):
                files.write_atomically(path, b''.join(kept))


def _step_of(line: bytes) -> int:
    with contextlib.suppress(UsageError, ValueError):
        return schema.check(files.parse_json(line), MetricsLine)['step']
    return 0  # damaged: readers skip it


def read(run: str) -> List[EpochRow]:
    """Return the rows of results.csv by step; none if there is no such file.

    A row that is damaged is left out.
    """
    return _read(run)[0]


def _read(run: str) -> Tuple[List[EpochRow], bool]:
    """Return the rows of `read`, and whether the file holds anything else."""
    path = os.path.join(run, FILE)
    try:
        with files.open_regular(path) as stream:
            text = stream.read(MAX_BYTES + 1).decode('utf-8', 'replace')
    except OSError:
        return [], os.path.lexists(path)
    rows: Dict[int, EpochRow] = {}
    lines = text[:MAX_BYTES].replace('\0', '').splitlines()
    is_damaged = len(text) > MAX_BYTES or bool(lines and lines[0] != ','.join(COLUMNS))
    try:
        for fields in csv.DictReader(lines):
            row = _parse(fields)
            if row is not None:
                rows[row.step] = row
            is_damaged = is_damaged or row is None
    except csv.Error:  # a field that is too long
        is_damaged = True
    return [rows[step] for step in sorted(rows)], is_damaged


def keep_damaged(run: str) -> List[EpochRow]:
    """Return what `read` does; rename a damaged results.csv and write its good rows anew."""
    rows, is_damaged = _read(run)
    if is_damaged:
        path = os.path.join(run, FILE)
        _keep(path, path + '.corrupt')
        print(f'note: {printable(path)} is damaged: kept as {FILE}.corrupt; {len(rows)} of its '
              'rows are good', flush=True)
        write(run, rows)
    return rows


def _keep(path: str, corrupt: str) -> None:
    """Give `path` the name `corrupt`, too: the disk may be too full to write its good rows."""
    with contextlib.suppress(FileNotFoundError, IsADirectoryError, PermissionError):
        os.remove(corrupt)
    try:
        os.link(path, corrupt)
    except OSError:  # a file system without links, or a directory
        os.replace(path, corrupt)


def _parse(fields: Dict[str, str]) -> Optional[EpochRow]:
    try:
        values = {name: _PARSERS[name](fields[name]) for name in COLUMNS}
        return EpochRow(**schema.check(values, EpochRow))
    except (KeyError, TypeError, ValueError, UsageError):
        return None


def write(run: str, rows: Sequence[EpochRow]) -> None:
    """Write results.csv."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(COLUMNS)
    writer.writerows(dataclasses.astuple(row) for row in rows)
    files.write_atomically(os.path.join(run, FILE), text.getvalue())


def of_compressed(rows: Sequence[EpochRow], config: Config) -> List[EpochRow]:
    """Return the rows that may be the best: of the network as pruned and quantized as it will be.

    Earlier ones are more accurate, but of another network than the training is for.
    """
    first = durations.first_compressed_step(config) - 1e-6
    return [row for row in rows if row.step >= first]


def best(rows: Sequence[EpochRow]) -> Optional[EpochRow]:
    """Return the first row of the best validation accuracy; None if nothing was held out."""
    return max((row for row in rows if row.eval_split == SELECTION_SPLIT),
               key=lambda row: (row.eval_accuracy, -row.step), default=None)


def evaluations_without_improvement(rows: Sequence[EpochRow]) -> int:
    """Return how many rows follow the best one; 0 if there is none."""
    top = best(rows)
    return 0 if top is None else sum(row.step > top.step for row in rows)
