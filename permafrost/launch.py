"""From the flags of a training to its Config and its run directory."""

import dataclasses

import models
from permafrost import recipes, runs
from permafrost.config import Config, UsageError, given, nearest, resumed


def launch(values):
    """(Config, run directory) that the absl flags `values` ask for.

    With --resume it is the named run, or the model's newest, as it was started; where there is
    none a new one is made.
    Raises:
      UsageError: flags that cannot be meant, or that a resumed run may not change.
      UserError: the run directory cannot be used.
    """
    if values.model not in models.MODELS:
        raise nearest('model', values.model, models.MODELS)
    if values.resume:
        run = values.run or _newest(values)
        if run and runs.exists(run):
            return _continued(values, run)
        print('nothing to resume: starting')
    recipe = recipes.recipe(values.recipe, values.set)
    fields = {f.name: getattr(values, f.name) for f in dataclasses.fields(Config)
              if f.name != 'recipe'}
    settings = Config(recipe=recipe, **dict(fields, steps=values.steps or recipes.steps(recipe)))
    return settings, runs.create(values.log_dir, values.model, values.run)


def _newest(values):
    found = runs.numbered(values.log_dir, values.model)
    return found[-1] if found else None


def _continued(values, run):
    old, _ = runs.read_config(run)
    changes = given(values)
    if changes.get('model', old.model) != old.model:
        raise UsageError('%s is a run of %s, not of %s: name another --run' % (
            run, old.model, changes['model']))
    recipe = old.recipe
    if 'recipe' in changes or 'set' in changes:
        recipe = recipes.recipe(changes.get('recipe', old.recipe.name), changes.get('set', ()))
    return resumed(old, recipe, changes), run
