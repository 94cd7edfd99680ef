"""results/*.json: measured accuracies, a file for each model, recipe, data set and length."""

import json
import os
import shlex

import numpy as np

from permafrost import files, runs
from permafrost.datasets import registry
from permafrost.errors import UserError

# Flags without which the training is the same.
PLACES = ('run', 'log_dir', 'data_dir', 'resume', 'log_steps', 'summary_steps', 'histogram_steps')


def record(folder, run, figures):
    """Writes what an evaluation of a finished run measured into `folder`; returns the path.

    Runs that differ only in their seed share a file: a seed already there is replaced.

    Args:
      figures: of evaluation.measure, on the whole test split.
    Raises UserError where the run is not finished, figures are of other images, or the file holds
    a result of other settings.
    """
    config, extra = runs.read_config(run)
    status, recipe = runs.read_status(run), config.recipe
    if figures['split'] != 'test':
        raise UserError('a result is of the test images, not of --split %s' % figures['split'])
    if 'train_seconds' not in status:
        raise UserError('%s has no whole status.json, which says how long it took' % run)
    if figures['step'] < config.steps:
        raise UserError('%s is at step %d of %d: a result is of a finished run' % (
            run, figures['step'], config.steps))
    name = '-'.join([config.model, _recipe_name(recipe, config), str(figures['step'])])
    path = os.path.join(folder, name + '.json')
    old = _read(path)
    known = extra.get('data_set_identity')  # not of runs of before it was kept
    identity = {'data_set_identity': known} if known else {}
    _compare(path, old, dict(config.to_json()['recipe'], weights=figures['weights'], **identity))
    os.makedirs(folder, exist_ok=True)
    files.write_json(path, dict(_joined(old, config.seed, figures), **{
        'model': config.model, 'recipe': recipe.name, 'settings': config.to_json()['recipe'],
        'data_set': _data_set(config), **identity,
        'classes': len(extra['classes']), 'steps': figures['step'],
        'epochs': round(figures['step'] * recipe.batch_size / extra['train_images'], 2),
        'batch_size': recipe.batch_size,
        'weights': figures['weights'], 'images': figures['images'],
        'engine': extra['versions'][-1]['engine'], 'versions': extra['versions'],
        # of the slowest of the seeds
        'train_seconds': max(status['train_seconds'], old.get('train_seconds', 0.)),
        'images_per_second': status['images_per_second'],
        'command': _command(extra['command']), 'date': figures['date']}))
    return path


def _compare(path, old, settings):
    """Raises UserError where the `old` result at `path` is not of these `settings`."""
    held = dict(old.get('settings', {}), **{
        name: old[name] for name in ('weights', 'data_set_identity') if name in old})
    settings = json.loads(json.dumps(settings))  # as they are when read
    other = ['%s is %s there, %s here' % (name, held[name], settings[name])
             for name in sorted(set(held) & set(settings)) if held[name] != settings[name]]
    if old and other:
        raise UserError('%s holds a result of other settings (%s): remove it, or give another '
                        '--results' % (path, '; '.join(other)))


def _joined(old, seed, figures):
    """'seeds' and, of each, 'accuracy' and 'accuracy_tta': those of `old` and the new ones.

    Seeds have been evaluated with the same test-time augmentation, or it is left out.
    """
    found = {}
    for name in ('accuracy', 'accuracy_tta'):
        values = dict(zip(old.get('seeds', ()), old.get(name, {}).get('values', ())))
        values.pop(seed, None)
        if name in figures:
            values[seed] = figures[name]
        found[name] = values
    seeds = sorted(found['accuracy'])
    same = figures.get('tta') if old.get('tta', figures.get('tta')) == figures.get('tta') else None
    if sorted(found['accuracy_tta']) != seeds or same is None:
        del found['accuracy_tta']
    return dict({name: _summary([values[seed] for seed in seeds])
                 for name, values in found.items()},
                seeds=seeds, **({'tta': same} if 'accuracy_tta' in found else {}))


def _summary(values):
    spread = np.std(values, ddof=1) if len(values) > 1 else 0.  # of seeds not trained too
    return {'mean': float(np.mean(values)), 'std': float(spread), 'values': values}


def _command(command):
    """The command of a training without what only says where it was, or how it was watched."""
    words, left = shlex.split(command), []
    while words:
        word = words.pop(0)
        name, equals, _ = word.lstrip('-').partition('=')
        if not word.startswith('-') or name not in PLACES:
            left.append(word)
        elif not equals and name != 'resume':
            words[:1] = []
    return ' '.join(map(shlex.quote, left))


def _recipe_name(recipe, config):
    return recipe.name if config.dataset == 'cifar10' else '%s-%s' % (
        recipe.name, _data_set(config))


def _data_set(config):
    return registry.display_name(config.dataset, config.data_dir)


def _read(path):
    """The result in the file at `path`; {} where there is no file."""
    if not os.path.exists(path):
        return {}
    with open(path) as stream:
        return json.load(stream)
