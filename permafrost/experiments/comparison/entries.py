"""Entries: what a comparison needs to know of each run, and of each seed of a results/*.json."""

import dataclasses
from typing import Dict, FrozenSet, List, Optional, Tuple

from permafrost import runs
from permafrost.config import RESUMABLE, Config
from permafrost.datasets import registry
from permafrost.evaluation import history
from permafrost.experiments import results
from permafrost.experiments.comparison.selection import Selected
from permafrost.experiments.comparison.table import Curve
from permafrost.experiments.sweeps import exports
from permafrost.recipes import catalog, durations, overrides
from permafrost.recipes.recipe import Recipe
from permafrost.recipes.setting_text import to_text

# Files of one name may differ: a dataset that is packed again, a teacher that is replaced.
IDENTITIES = ('dataset_identity', 'teacher_sha256')
# Both decide how long a run trains, though a resumed run may change them.
LENGTH = {'steps', 'patience'}
NOT_COMPARED = ({*RESUMABLE} - LENGTH) | {'recipe', 'seed', 'deterministic', 'train_images',
                                          'statistics'}


@dataclasses.dataclass(frozen=True)
class Entry:
    """One run, or one seed of a result."""
    path: str
    variant: str
    model: str
    seed: int
    settings: Dict[str, str]  # every setting that decides what is trained
    changed: Tuple[str, ...]  # the settings that differ from those of the recipe
    image_size: int
    classes: int
    engine: str
    is_run: bool = True
    export: str = ''  # the file of the run that is compared: see sweeps.exports; '': the .pb
    state: str = 'done'
    step: int = 0
    steps: int = 0
    validation: int = 0  # images held out
    weights: str = 'raw'  # that it is judged by
    accuracy: Optional[float] = None  # at the last step, of the split that is compared
    images: int = 0
    train_seconds: Optional[float] = None
    dataset_identity: str = ''  # '': unknown, of an early run
    hardware: FrozenSet[str] = frozenset({''})  # that trained it: see results.hardware
    curve: Optional[Curve] = None
    params: Optional[int] = None  # as a result has recorded them
    ops: Optional[int] = None

    @property
    def is_finished(self) -> bool:
        """True if the training is done."""
        return self.state == 'done'

    def progress(self) -> str:
        """Return the state as text, such as 'running, step 300 of 1000'."""
        return f"{self.state}, step {self.step} of {self.steps}"


def read_run(selected: Selected) -> Entry:
    """Return the Entry of a run, without its accuracy. Raises UserError if it is damaged."""
    run = selected.path
    config, extra = runs.read_config(run)
    state, step = runs.state(run, config)
    others = results.other_settings(run, config)
    engine = (extra.get('versions') or [{}])[-1].get('engine', 'unknown')
    settings = {field.name: to_text(getattr(config, field.name))
                for field in dataclasses.fields(config) if field.name not in NOT_COMPARED}
    settings.update(dataset=registry.display_name(config.dataset, config.data_dir), engine=engine,
                    weights=config.recipe.default_weights, cluster=to_text(others.get('cluster')))
    settings, changed = _with_recipe(settings, config.recipe)
    identity = extra.get('dataset_identity', '')
    settings.update(zip(IDENTITIES, (
        identity[:12] if config.dataset == registry.TFRECORDS else '',
        extra.get('teacher_sha256', '')[:12])))
    changed += tuple(name for name in IDENTITIES if settings[name])
    settings[exports.SETTING] = selected.export or 'pb'
    if config.steps != durations.num_steps(config.recipe, config.train_images):
        changed += ('steps',)
    changed += tuple(others)
    if config.patience:
        changed += ('patience',)
    if not config.average_statistics:  # of an early run
        changed += ('average_statistics',)
    if selected.export:
        changed += (exports.SETTING,)
    return Entry(
        run, selected.variant, config.model, config.seed, settings, changed,
        config.recipe.image_size, len(extra['classes']), engine, export=selected.export,
        state=state, step=step,
        steps=config.steps, validation=config.validation,
        weights=config.recipe.default_weights,
        train_seconds=runs.read_status(run).get('train_seconds'), curve=_curve(run, config.seed),
        dataset_identity=identity,
        hardware=frozenset(results.hardware(extra.get('versions', ()))))


def with_accuracy(entry: Entry, split: str) -> Entry:
    """Return the `entry` of a run with the accuracy that was measured at its last step, if any."""
    for metrics in history.newest_metrics(entry.path, split, entry.weights):
        if metrics['step'] == entry.step:
            return dataclasses.replace(entry, accuracy=metrics['accuracy'],
                                       images=metrics['images'])
    return entry


def last_accuracy(entry: Entry) -> Tuple[Optional[float], str]:
    """Return the accuracy of the highest evaluated step, and the split: held-out or test images."""
    for split in ('validation', 'test'):
        last = max(history.newest_metrics(entry.path, split, entry.weights),
                   key=lambda metrics: metrics['step'], default=None)
        if last:
            return last['accuracy'], split
    return None, ''


def _curve(run: str, seed: int) -> Optional[Curve]:
    rows = history.read(run)
    return Curve(seed, tuple(row.epoch for row in rows), tuple(row.train_loss for row in rows),
                 tuple(row.eval_loss for row in rows),
                 tuple(row.eval_accuracy for row in rows), rows[-1].eval_split) if rows else None


def read_result(selected: Selected) -> List[Entry]:
    """Return an Entry for each seed of a results/*.json. Raises UserError if it is damaged."""
    result = results.read(selected.path)
    recipe = Recipe.from_json(result['settings'])
    settings, changed = _with_recipe(
        {'model': result['model'], 'dataset': result['dataset'], 'engine': result['engine'],
         'steps': str(result['steps']), 'weights': result['weights'],
         **{name: to_text(result.get(name, getattr(Config, name, None)))
            for name in results.OTHER_SETTINGS}}, recipe)
    if result['weights'] != recipe.default_weights:
        changed += ('weights',)
    images = result['steps'] * recipe.batch_size / max(result['epochs'], 0.01)  # of an epoch
    if result['steps'] != durations.num_steps(recipe, round(images)):
        changed += ('steps',)
    changed += tuple(name for name in results.OTHER_SETTINGS if result.get(name))
    return [Entry(
        selected.path, '', result['model'], seed, settings, changed, recipe.image_size,
        result.get('classes', 10), result['engine'], is_run=False,
        step=result['steps'], steps=result['steps'], weights=result['weights'],
        accuracy=accuracy, images=result.get('images', 1), train_seconds=result['train_seconds'],
        params=result['params'], ops=result['ops'],
        hardware=frozenset(results.hardware(result.get('versions', ()))))
        for seed, accuracy in zip(result['seeds'], result['accuracy']['values'])]


def _with_recipe(settings: Dict[str, str],
                 recipe: Recipe) -> Tuple[Dict[str, str], Tuple[str, ...]]:
    """Return `settings` with those of `recipe`, and the names of what differs from the catalog's.

    Of a recipe that the catalog lacks, that is every field.
    """
    fields = {name: to_text(value) for name, value in recipe.to_json().items() if name != 'name'}
    changed = tuple(fields)
    if recipe.name in catalog.RECIPES:
        changed = tuple(text.partition('=')[0] for text in overrides.differences(recipe))
    return dict(settings, recipe=recipe.name, **fields), changed
