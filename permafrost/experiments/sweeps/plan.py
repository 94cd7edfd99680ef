"""The plan of a study: each run with its directory, its command line and its Config, checked."""

import contextlib
import copy
import dataclasses
import functools
import io
from typing import Any, Dict, List, NamedTuple, Sequence, Set, Tuple

from absl import flags

from permafrost import runs
from permafrost.config import RESUMABLE, Config
from permafrost.datasets import loading
from permafrost.entry_point import expanded
from permafrost.errors import UsageError, UserError, one_line, printable
from permafrost.evaluation import history
from permafrost.experiments.sweeps import exports
from permafrost.experiments.sweeps.study import Settings, Study, run_directory
from permafrost.experiments.sweeps.variants import Variant
from permafrost.recipes import overrides
from permafrost.training import setup
from permafrost.training.setup import TrainSetup

# Fields of Config that follow from others, or that a finished run may change: how long it trains.
NOT_COMPARED = {*RESUMABLE, 'statistics', 'train_images', 'average_statistics'}
# They follow from the processor, unless the study asks for float32, which every processor has.
PRECISION = ('compute_dtype', 'earlier_compute_dtype')
FLOAT32 = '--set=compute_dtype=float32'
MIXED_PRECISIONS = (
    'note: the study mixes {}: some processors lack bfloat16. To train all of it in float32, start '
    'a new STUDY with --compute_dtype=float32')
# It reads all files of the dataset: once, not for each variant.
_open_once = functools.lru_cache(maxsize=8)(loading.open_and_hold_out)


class PlannedRun(NamedTuple):
    """A run of a study."""
    variant: str
    seed: int
    directory: str
    arguments: Tuple[str, ...]  # of train.py, but for the directory
    config: Config  # that these arguments make
    dataset_identity: str

    @property
    def label(self) -> str:
        """The run's name in messages."""
        return printable(f'{self.variant} seed {self.seed}')

    def is_done(self) -> bool:
        """Return whether the run is finished, also early, and at least as long as planned."""
        status = runs.read_status(self.directory)
        if status.get('state') != 'done' or status.get('step', 0) >= self.config.steps:
            return status.get('state') == 'done'
        config, _ = runs.read_config(self.directory)  # --patience may have ended it
        return (config.patience > 0 and config.steps >= self.config.steps and
                (config.patience, config.eval_epochs) == (
                    self.config.patience, self.config.eval_epochs))

    def step(self) -> int:
        """Return the step of the last save."""
        return runs.read_status(self.directory).get('step', 0)

    def accuracies(self) -> List[float]:
        """Return the accuracies of its evaluations: of the images held out, or else of test."""
        return [row.eval_accuracy for row in history.read(self.directory)]

    def best_accuracy(self) -> float:
        """Return the best of them, of the compressed network if any is of that."""
        rows = history.read(self.directory)
        rows = history.of_compressed(rows, self.config) or rows
        return max(row.eval_accuracy for row in rows)

    def check_same(self) -> None:
        """Raise UserError if the directory holds a run of other settings, or a longer one."""
        if not runs.exists(self.directory):
            return
        config, extra = runs.read_config(self.directory)
        before, after = _compared(config), _compared(self.config)
        before['dataset_identity'] = extra.get('dataset_identity', self.dataset_identity)
        after['dataset_identity'] = self.dataset_identity
        different = [f'{name} {before[name]}, not {after[name]}' for name in sorted(after)
                     if before[name] != after[name]
                     and (name not in PRECISION or FLOAT32 in self.arguments)]
        if different:
            raise UserError(
                f"{printable(self.directory)} was trained with {printable('; '.join(different))}: "
                'restore study.json, move that directory away, or use another STUDY')
        if self.step() > self.config.steps:  # a mean of both lengths would say nothing
            raise UserError(
                f'{printable(self.directory)} was trained for {self.step()} steps, more than '
                f'{self.config.steps}: give --steps={self.step()} or more, move that directory '
                'away, or use another STUDY')

    def precisions(self) -> Set[str]:
        """Return each compute_dtype that the run has had, and the one that it will go on in."""
        found = set() if self.is_done() else {self.config.recipe.compute_dtype}
        if runs.exists(self.directory):
            config, _ = runs.read_config(self.directory)
            earlier = (config.earlier_compute_dtype or '').split(', ')
            found |= {config.recipe.compute_dtype, *(text.split(' ')[0] for text in earlier)}
        return found - {''}


def _compared(config: Config) -> Dict[str, Any]:
    """Return the settings that make another run: the recipe's, and those of Config."""
    fields = config.to_json()
    recipe = fields.pop('recipe')  # it has a train_images, too: the length of the training
    return {**{name: value for name, value in fields.items() if name not in NOT_COMPARED}, **recipe}


def plan(study: Study, variants: Sequence[Variant], folder: str, values: Any) -> List[PlannedRun]:
    """Return the runs of `variants` in `folder`, every variant with the first seed first.

    A variant that trains the same as one before it is left out, with a note unless one of them is
    an export. `values` are the flags of train.py (absl FlagValues). Raises UserError if settings
    are wrong, or a directory holds another run.
    """
    setups: Dict[str, Tuple[Variant, TrainSetup]] = {}
    for variant in variants:
        prepared = configure(values, arguments_of(study, variant.settings, study.seeds[0]),
                             variant.name)
        first, _ = setups.setdefault(repr(prepared.config.to_json()), (variant, prepared))
        if first is not variant and exports.SETTING not in {**first.settings, **variant.settings}:
            print(f'note: {printable(variant.name)} trains exactly like {printable(first.name)}, '
                  'so it is left out', flush=True)
    planned = [planned_run(study, variant, seed, folder, prepared)
               for seed in study.seeds for variant, prepared in setups.values()]
    for run in planned:
        run.check_same()
    _note_precisions(planned)
    return planned


def _note_precisions(planned: Sequence[PlannedRun]) -> None:
    """Print a note if runs that were meant to train in one precision train in two."""
    found: Dict[str, Set[str]] = {}
    for run in planned:
        found.setdefault(run.config.recipe.compute_dtype, set()).update(run.precisions())
    mixed = next((names for names in found.values() if len(names) > 1), None)
    if mixed:
        print(MIXED_PRECISIONS.format(' and '.join(sorted(mixed))), flush=True)


def planned_run(study: Study, variant: Variant, seed: int, folder: str, prepared: TrainSetup
                ) -> PlannedRun:
    """Return a run of `variant`; `prepared` is that of any of its seeds."""
    return PlannedRun(variant.name, seed, run_directory(folder, variant.name, seed),
                      tuple(arguments_of(study, variant.settings, seed)),
                      dataclasses.replace(prepared.config, seed=seed),
                      prepared.dataset.identity)


def arguments_of(study: Study, settings: Settings, seed: int) -> List[str]:
    """Return the flags of train.py for the base with `settings`."""
    merged = exports.trained({**study.base, **settings})
    return [*(f'--set={name}={text}' if name in overrides.FIELDS
              else f'--{name}={expanded(name, text)}'
              for name, text in merged.items()), f'--seed={seed}']


def configure(values: Any, arguments: Sequence[str], name: str) -> TrainSetup:
    """Return what train.py makes of `arguments`. Raises UsageError naming the variant."""
    parsed = copy.deepcopy(values)
    for each in parsed:
        parsed[each].unparse()
    try:
        parsed(['train.py', *arguments])
        with contextlib.redirect_stdout(io.StringIO()):
            return setup.prepare_training(parsed, open_dataset=_open_once)
    except (UsageError, flags.Error) as error:
        raise UsageError(f'{printable(name)}: {one_line(error)}') from None
