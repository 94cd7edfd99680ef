"""From the flags of a training to what it trains, on what, and where."""

import collections
import dataclasses
import functools
import os

import models
from permafrost import runs
from permafrost.flags import explicitly_set
from permafrost.config import Config, merged_for_resume
from permafrost.datasets import loading, registry
from permafrost.errors import UsageError, unknown_name_error
from permafrost.inputs import statistics
from permafrost.recipes import catalog, durations, overrides

# `open_run` makes the run directory, or finds that to resume, and returns its path. It is called
# when all else has been found good: a mistake leaves no empty run behind.
TrainSetup = collections.namedtuple('TrainSetup', 'config dataset open_run')


def prepare(values, chief=True):
    """The Launch that the absl flags `values` ask for; every file of the data is checked.

    With --resume it is the named run, or the model's newest, as it was started; where there is
    none a new one is made. A worker that is not the `chief` opens no run: that of the chief may
    be there already, or be on another machine.
    Raises:
      UsageError: flags that cannot be meant, or that a resumed run may not change.
      UserError: data or a run directory that cannot be used.
    """
    if values.model not in models.MODELS:
        raise unknown_name_error('model', values.model, models.MODELS)
    run = _resumable(values) if values.resume else None
    if run:
        config, open_run = _continued(values, run), lambda: run
        dataset = loading.open_dataset(config.dataset, config.data_dir)
    else:
        recipe = overrides.with_supported_precision(overrides.get_recipe(
            values.recipe or catalog.default_recipe(values.model), values.set))
        name, place = registry.resolve(values.dataset, values.data_dir)
        dataset = loading.open_dataset(name, place)
        config = _new(values, recipe, dataset, name, place)
        open_run = functools.partial(runs.create, values.log_dir, values.model, values.run)
        if chief and values.run and runs.exists(values.run):
            open_run()  # raises: what it holds is not overwritten
    if 2 * config.recipe.image_size < dataset.image_shape[0]:
        print('note: the recipe cuts %dx%d from images of %dx%d (--set image_size=N changes it)'
              % ((config.recipe.image_size,) * 2 + dataset.image_shape[:2]), flush=True)
    return TrainSetup(config, dataset, open_run)


def _resumable(values):
    found = [values.run] if values.run else runs.list_runs(values.log_dir, values.model)[-1:]
    if found and runs.exists(found[0]):
        return found[0]
    print('nothing to resume: starting', flush=True)
    return None


def _new(values, recipe, dataset, name, place):
    count = dataset.counts['train']
    found = {'recipe': recipe, 'dataset': name, 'data_dir': place, 'train_images': count,
             'steps': values.steps or durations.num_steps(recipe, count),
             'statistics': statistics.statistics(recipe.standardize, dataset)}
    config = Config(**dict({f.name: getattr(values, f.name) for f in dataclasses.fields(Config)
                            if f.name not in found}, **found))
    if config.deterministic and config.source == 'stream':
        raise UsageError('--deterministic wants --source=memory: what a stream draws among is '
                         'what had been read by then')
    durations.learning_rate_at(config, 0)  # a schedule that cannot be meant is answered here
    own = '' if values.recipe else " (%s's own)" % config.model
    print('recipe: %s%s, %d steps' % (recipe.name, own, config.steps), flush=True)
    _note_length(config, 'would')
    return config


def _note_length(config, would):
    """Says so where --steps is not what the schedule of the recipe was made for."""
    recipe, steps = config.recipe, config.steps
    whole = durations.num_steps(recipe, config.train_images)
    if steps != whole and recipe.schedule != 'constant':
        print('note: --steps=%d %s its schedule of %d steps%s; --set epochs=%.6g %s it' % (
            steps, 'stops in the middle of' if steps < whole else 'goes on after', whole,
            '' if steps < whole else ', at a learning rate of %.3g' % durations.learning_rate_at(
                config, whole), steps * recipe.batch_size / config.train_images,
            would + (' shorten' if steps < whole else ' lengthen')), flush=True)


def _continued(values, run):
    old, _ = runs.read_config(run)
    changes = explicitly_set(values)
    if 'data_dir' in changes:
        changes['data_dir'] = os.path.expanduser(changes['data_dir'])
    if 'dataset' in changes:
        changes['dataset'], place = registry.resolve(changes['dataset'], changes.get('data_dir'))
        changes.update({'data_dir': place} if place else {})
    if changes.get('model', old.model) != old.model:
        raise UsageError('%s is a run of %s, not of %s: name another --run' % (
            run, old.model, changes['model']))
    recipe = old.recipe
    if 'recipe' in changes or 'set' in changes:
        recipe = overrides.with_supported_precision(overrides.get_recipe(
            changes.get('recipe') or old.recipe.name, changes.get('set', ())))
    config = merged_for_resume(old, recipe, changes)
    _note_length(config, 'in another run would')
    return config
