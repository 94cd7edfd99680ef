"""From the flags of a training to its TrainSetup: the Config, the dataset and the run directory.

Nothing here imports TensorFlow, so that a wrong flag fails at once.
"""

import dataclasses
import os
import re
from typing import Any, Callable, NamedTuple, Optional

from permafrost import runs
from permafrost.cli import trained_models
from permafrost.config import Config, merged_for_resume
from permafrost.datasets import loading, registry
from permafrost.errors import UsageError, UserError, pluralize, printable, shown
from permafrost.flags import explicitly_set
from permafrost.inputs import normalization
from permafrost.recipes import catalog, checks, durations, overrides
from permafrost.recipes.param_groups import is_safe_pattern
from permafrost.recipes.recipe import Recipe
from permafrost.recipes.schedules import Constant

EVAL_IMAGES = 10000  # to train on between two evaluations, at least


class TrainSetup(NamedTuple):
    """A training that is about to start: its Config, its dataset and its run directory."""
    config: Config
    dataset: loading.Dataset
    log_dir: str = 'runs'  # parent of the run directories
    run: Optional[str] = None  # run directory; None: the next number in <log_dir>/<model>
    resume: bool = False  # continue `run`, which exists
    trained: Any = None  # an initialization.TrainedWeights: where the variables begin
    teacher: Any = None  # a compression.distillation.Teacher

    def open_run(self) -> str:
        """Return the run directory; create it unless it is resumed.

        Call this when all else is known to be right, so that a mistake leaves no empty run behind.
        """
        if self.resume:
            return self.run
        return runs.create(self.log_dir, self.config.model, self.run)


def prepare_training(
        values: Any, is_chief: bool = True,
        open_dataset: Callable[..., loading.Dataset] = loading.open_and_hold_out) -> TrainSetup:
    """Return the TrainSetup that the flags (absl FlagValues) ask for; check the dataset's files.

    With --resume it continues run_to_resume; if there is none it starts a new run, provided that
    --run or --model says which. Only the chief opens it: the run may be on another machine.
    `open_dataset` may remember the datasets that it has opened for other new runs. Raises
    UserError.
    """
    run = run_to_resume(values) if values.resume else None
    if run and runs.exists(run):
        train_setup = _resumed_setup(values, run)
    else:
        _check_new_run(values, is_chief)
        train_setup = _new_setup(values, open_dataset)
    recipe = train_setup.config.recipe
    height, width, _ = train_setup.dataset.image_shape
    checks.check_images(recipe, height, width)
    if not train_setup.resume:
        _note_images(recipe, height, width)
        _note_rounding(recipe)
    return train_setup


def run_to_resume(values: Any) -> Optional[str]:
    """Return --run, or the run that was used last, of --model if that is given; None without one.

    A run that --run names may not exist yet.
    """
    if values.run:
        return values.run
    model = values.model if values['model'].present else None
    return next(reversed(runs.list_runs(values.log_dir, model)), None)


def check_sources(train_setup: TrainSetup, is_chief: bool = True) -> None:
    """Raise UserError if a new run has no file to begin with, or no teacher.

    This takes no time: TensorFlow, which reads them, does. Only the chief needs --init_from.
    """
    for name in ('init_from', 'teacher') if is_chief else ('teacher',):
        source = getattr(train_setup.config, name)
        if source is not None and not train_setup.resume:
            find_graph(source, name)


def find_graph(source: str, flag: str) -> str:
    """Return the path that `flag` names: a run, a frozen graph, or NAME in trained_models/.

    Raises UserError if there is none.
    """
    path = trained_models.path_of(source)
    if not os.path.exists(path):
        names = ', '.join(trained_models.names())
        raise UserError(f"no run, graph or model named '{printable(source)}': name a run "
                        f'directory, a frozen graph, or one of {names} with --{flag}')
    return path


def _resumed_setup(values: Any, run: str) -> TrainSetup:
    """Return the TrainSetup that continues `run`, which exists; print what it trains."""
    config = _resumed_config(values, run)
    print(f'resuming {printable(run)}: {config.model}, recipe '
          f"{overrides.describe_changes(config.recipe)}, {pluralize(config.steps, 'step')}",
          flush=True)
    return TrainSetup(config, loading.open_for_run(config), run=run, resume=True)


def _check_new_run(values: Any, is_chief: bool) -> None:
    """Raise UserError if the flags do not name a new run; print if there is none to resume."""
    if values.run and is_chief:
        runs.refuse_existing(values.run)
    if not values.resume:
        return
    if is_chief and not values.run and not values['model'].present:
        raise UserError(f'no run in {values.log_dir} to resume: name one with --run, or its parent '
                        'with --log_dir')
    place = values.run or os.path.join(values.log_dir, values.model)
    print(f'nothing to resume in {printable(place)}: starting a new run' if is_chief else
          f'note: no run in {printable(place)} here: joining the chief, whose settings must be the '
          'same', flush=True)


def _new_setup(values: Any, open_dataset: Callable[..., loading.Dataset]) -> TrainSetup:
    """Return the TrainSetup of a new run; print its recipe, and what has no effect in it."""
    if values.deterministic and values.source == 'stream':
        raise UsageError('--deterministic needs --source=memory: with --source=stream the shuffle '
                         'order depends on thread timing')
    if values.freeze is not None:
        _check_pattern(values.freeze)
    recipe = overrides.with_supported_precision(overrides.recipe_from_flags(values))
    if values.source == 'stream' and 'alternate_flip' in recipe.augmentation:
        raise UsageError('alternate_flip counts the epochs of each image: use --source=memory, or '
                         'flip instead')
    name, data_dir = registry.resolve(values.dataset, values.data_dir)
    dataset = open_dataset(name, data_dir, values.validation, values.seed)
    train_images = dataset.counts['train']
    if not train_images:
        raise UserError(f'{dataset.name} in {dataset.directory} has no image to train on: '
                        'name another --data_dir')
    flag_values = {field.name: getattr(values, field.name) for field in dataclasses.fields(Config)
                   if hasattr(values, field.name)}
    config = Config(**{
        **flag_values, 'recipe': recipe, 'dataset': name, 'data_dir': data_dir,
        'train_images': train_images, 'eval_epochs': _eval_epochs(values, train_images),
        'steps': values.steps or durations.num_steps(recipe, train_images),
        'statistics': normalization.fit(recipe.normalize, dataset), 'average_statistics': True})
    source = '' if values.recipe else f' (default for {config.model})'
    if recipe.name not in catalog.RECIPES:  # its name may be misspelt
        source = f' (from {printable(values.recipe)}; not in the catalog)'
    base = overrides.base_from_flags(values)
    description = overrides.describe_changes(recipe, base).replace(
        recipe.name, recipe.name + source, 1)
    print(f"recipe: {description}, {pluralize(config.steps, 'step')}", flush=True)
    for line in checks.settings_without_effect(recipe, base):
        print(f'note: {line}', flush=True)
    _check(config)
    if not getattr(values, 'lr_range_test', False):  # --steps is the length of the test
        _note_length(config)
    return TrainSetup(config, dataset, values.log_dir, values.run)


def _note_images(recipe: Recipe, height: int, width: int) -> None:
    """Print if the recipe's crops are as large as the images, or at most half as large."""
    size = recipe.image_size
    if size == height == width and 'crop' in dict(checks.augmentations(recipe)):
        print(f'note: crop has no effect on images of {height}x{width}: use pad_crop:4 or a '
              'smaller --image_size to move them', flush=True)
    if 2 * size <= max(height, width):
        print(f'note: the recipe crops images of {height}x{width} to {size}x{size} '
              '(--image_size=N changes this)', flush=True)


def _note_rounding(recipe: Recipe) -> None:
    """Print if quantization-aware training does not round as an int8 file does."""
    if recipe.quantization_aware_epochs and recipe.compute_dtype != 'float32':
        print(f'note: {recipe.compute_dtype} has 8 significant bits, so training rounds more '
              'coarsely than an int8 file: --compute_dtype=float32 rounds as it does', flush=True)


def _check_pattern(pattern: str) -> None:
    """Raise UsageError if the `pattern` of --freeze is not valid, or could be slow."""
    try:
        re.compile(pattern)
    except (re.error, OverflowError) as error:
        raise UsageError(f'--freeze {shown(pattern)} is not a valid regular expression ({error})'
                         ) from None
    if not is_safe_pattern(pattern):
        raise UsageError(f'--freeze {shown(pattern)} has too many repetitions: use at most four of '
                         '* + ? {, none of them after a group')


def _eval_epochs(values: Any, train_images: int) -> float:
    """Return --eval_epochs, by default whole epochs of at least EVAL_IMAGES training images."""
    if values.eval_epochs is not None:
        return values.eval_epochs
    return float(max(1, -(-EVAL_IMAGES // max(train_images, 1))))


def _check(config: Config) -> None:
    """Raise UsageError if config.json cannot hold `config`, or its fields do not go together.

    A note says that images are held out for nothing.
    """
    Config.from_json(config.to_json())
    _check_combinations(config)
    if config.validation and not config.eval_epochs:
        print(f'note: --eval_epochs=0 evaluates nothing on the {config.validation} images that '
              '--validation holds out: there will be no best checkpoint', flush=True)


def _check_combinations(config: Config) -> None:
    """Raise UsageError if fields of `config` do not go together."""
    if config.patience and not config.validation:
        raise UsageError('--patience needs --validation: the test images must not decide when to '
                         'stop')
    for name in ('distillation_temperature', 'distillation_weight'):
        if config.teacher is None and getattr(config.recipe, name) != getattr(Recipe, name):
            raise UsageError(f'--{name} needs a --teacher to learn from')
    if config.patience and not config.eval_epochs:
        raise UsageError('--patience needs evaluations: leave out --eval_epochs=0')


def _resumed_config(values: Any, run: str) -> Config:
    """Return the Config of `run` with the changes of the flags (absl FlagValues).

    Raises UsageError if a flag cannot change it, UserError if its config.json is damaged.
    """
    config, _ = runs.read_config(run)
    try:
        _check_combinations(config)
    except UsageError as error:  # no flag is wrong
        raise UserError(f'{printable(run)}/config.json is damaged ({error}): {runs.DAMAGED}')
    changes = {name: value for name, value in explicitly_set(values).items()
               if name not in overrides.FIELDS}
    if changes.get('data_dir') is not None:
        changes['data_dir'] = os.path.expanduser(changes['data_dir'])
    if 'dataset' in changes:
        changes['dataset'], data_dir = registry.resolve(changes['dataset'], changes.get('data_dir'))
        changes.update({'data_dir': data_dir} if data_dir else {})
    if changes.get('model', config.model) != config.model:
        raise UsageError(f"{run} is a run of {config.model}, not of {changes['model']}: name "
                         'another --run')
    recipe, recipe_changes = config.recipe, overrides.changes_from_flags(values)
    if 'recipe' in changes:
        recipe = dataclasses.replace(overrides.find_recipe(changes['recipe']),
                                     compute_dtype=recipe.compute_dtype)  # unless a flag changes it
    if recipe_changes:
        recipe = overrides.with_changes(recipe, recipe_changes)
    config = merged_for_resume(config, overrides.with_supported_precision(recipe), changes)
    _check(config)
    _note_length(config, 'in a new run, ')
    return config


def _note_length(config: Config, where: str = '') -> None:
    """Print what --steps leaves out of the recipe; `where` --epochs would set another length."""
    recipe, steps = config.recipe, config.steps
    end = durations.num_steps(recipe, config.train_images)
    quantized, sparse = durations.first_quantized_step(config), durations.prune_steps(config)[1]
    problems = []
    if steps < end and recipe.schedule != Constant():
        problems.append(f"cuts the schedule of {pluralize(end, 'step')} short")
    elif steps > end and recipe.schedule != Constant():
        rate = durations.learning_rate_at(config, end)
        problems.append(f"continues after the schedule of {pluralize(end, 'step')}, at a learning "
                        f'rate of {rate:.3g}')
    if recipe.quantization_aware_epochs and steps <= quantized:
        problems.append(f'ends before quantization-aware training begins at step {quantized:g}')
    if (recipe.sparsity or recipe.structured_sparsity) and steps < sparse:
        problems.append(f'ends before the sparsity is reached at step {sparse:g}')
    averaged = end - recipe.ema_epochs * durations.steps_per_epoch(config)
    if recipe.ema_decay and recipe.ema_epochs and steps <= averaged:
        problems.append(f'ends before the averages start at step {averaged:g}')
    sizes = recipe.progressive_resizing
    full = (sizes.epochs or (0,))[-1] * durations.steps_per_epoch(config)
    if sizes.epochs and steps <= full:
        problems.append(f'ends before the full image size is reached at step {full:g}')
    if problems:
        print(f"note: --steps={steps} {' and '.join(problems)}; {where}"
              f'--epochs={config.epoch_of(steps):.6g} would rescale it', flush=True)
