"""Comparison: variants side by side, a row each, as the terminal, files and pages show them."""

import dataclasses
from typing import Any, Dict, NamedTuple, Optional, Tuple

from permafrost.schema import limited


class Interval(NamedTuple):
    """A confidence interval of 95 %, as fractions 0..1, or differences of such."""
    low: float
    high: float


def _interval(**default: None) -> Any:
    """Return a field for an Interval, which is a list of two numbers in json."""
    return limited(hint=Optional[Tuple[float, ...]], count=(2, 2), **default)


@dataclasses.dataclass(frozen=True)
class Curve:
    """The learning curve of one run: a value for each evaluation while it trained."""
    seed: int
    epochs: Tuple[float, ...]
    train_losses: Tuple[Optional[float], ...]  # None: unknown
    eval_losses: Tuple[float, ...]
    eval_accuracies: Tuple[float, ...]
    split: str = ''  # of the evaluations: 'validation' or 'test'; '': not recorded


@dataclasses.dataclass(frozen=True)
class Difference:
    """The difference of a row's mean accuracy from the baseline's."""
    value: float  # a fraction: 0.01 is one percentage point better
    interval: Interval = _interval()
    # 'welch' (over seeds) or 'binomial' (over images: a single seed)
    method: str = limited(names=('welch', 'binomial'))

    @property
    def is_significant(self) -> bool:
        """True if the interval excludes zero."""
        return not self.interval.low <= 0 <= self.interval.high


@dataclasses.dataclass(frozen=True)
class Row:
    """A variant: the runs that differ only in their seed. None: not known."""
    name: str  # unique in the comparison; may come from a file: escape it
    model: str
    settings: Dict[str, str]  # {name in Comparison.settings: text}
    seeds: Tuple[int, ...] = ()  # of accuracies
    runs: Tuple[str, ...] = ()  # directories, of unfinished runs too; () for a results/*.json
    accuracies: Tuple[float, ...] = ()  # fractions, of the finished runs
    images: int = 0  # that each accuracy was measured on
    mean: Optional[float] = None  # of accuracies
    std: Optional[float] = None  # of accuracies, of the sample; None for a single seed
    # Of mean: Student's t over seeds, or Wilson's over images.
    interval: Optional[Interval] = _interval(default=None)
    difference: Optional[Difference] = None  # None for the baseline, too
    params: Optional[int] = None
    ops: Optional[int] = None  # for one image, as info.py counts; of the file if it has fewer
    bytes: Optional[int] = None  # of the frozen graph, or of the file exported of it
    gzip_bytes: Optional[int] = None  # of the same file, compressed by gzip
    sparsity: Optional[float] = None  # share of zeros among the weights of the frozen graph
    latency: Optional[float] = None  # milliseconds for one image in C++
    # the mean over the seeds (of results/*.json: the slowest seed); None, too: of mixed hardware
    train_seconds: Optional[float] = None
    curves: Tuple[Curve, ...] = ()
    notes: Tuple[str, ...] = ()  # of the runs, such as 'seed 2: failed, step 300 of 1000'
    recipe: str = ''  # its name; '': not known
    gpu: str = ''  # that trained the runs; '': a CPU, or several


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Rows, the baseline first. `settings` are the settings that differ between them."""
    title: str
    rows: Tuple[Row, ...]
    settings: Tuple[str, ...] = ()
    split: str = 'test'  # that the accuracies are of
    latency_of: str = ''  # how latency was measured: processor, threads, library, rounds
    notes: Tuple[str, ...] = ()

    @property
    def baseline(self) -> Row:
        """The row that the others are compared with."""
        return self.rows[0]
