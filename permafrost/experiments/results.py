"""results/*.json: measured accuracies, one file for each model, recipe, dataset and length."""

import glob
import os
import re
import shlex
from typing import Any, Dict, List

import numpy as np

from permafrost import files, runs
from permafrost.datasets import registry
from permafrost.errors import UserError
from permafrost.experiments import model_info
from permafrost.recipes.recipe import Recipe

Result = Dict[str, Any]

# Flags that do not change the training: a recorded command leaves them and --resume out.
UNRECORDED_FLAGS = 'run|log_dir|data_dir|log_steps|summary_steps|histogram_steps'


def load(folder: str) -> List[Result]:
    """Return the accuracy results in `folder`, by file name."""
    results = [_read(path) for path in sorted(glob.glob(os.path.join(folder, '*.json')))]
    return [result for result in results if 'accuracy' in result]


def _read(path: str) -> Result:
    result = files.read_json(path, None if os.path.exists(path) else {})
    if not isinstance(result, dict):
        raise UserError(f'{path} is not a result (a json object): restore it, or remove it')
    return result


def record(folder: str, run: str, metrics: Dict[str, Any]) -> str:
    """Write the test metrics of a finished run to a file in `folder`; return its path.

    Runs that differ only in their seed share a file. A seed that is already there is replaced.
    Raises UserError if the run is not finished, if the metrics are not of the test images, or if
    the file holds a result of other settings.
    """
    config, extra = runs.read_config(run)
    status, recipe = runs.read_status(run), config.recipe
    if metrics['split'] != 'test':
        raise UserError(f"a result must be of the test images, not of --split {metrics['split']}")
    if 'train_seconds' not in status:
        raise UserError(f'{run} has no complete status.json, so its training time is unknown')
    if metrics['step'] < config.steps:
        raise UserError(f"{run} is at step {metrics['step']} of {config.steps}: finish its "
                        'training first')
    dataset = registry.display_name(config.dataset, config.data_dir)
    recipe_name = recipe.name if config.dataset == 'cifar10' else f'{recipe.name}-{dataset}'
    path = os.path.join(folder, f"{config.model}-{recipe_name}-{metrics['step']}.json")
    previous = _read(path)
    result = {
        'model': config.model, 'recipe': recipe.name, 'settings': recipe.to_json(),
        'data_set': dataset, 'classes': len(extra['classes']), 'steps': metrics['step'],
        'epochs': round(metrics['step'] * recipe.batch_size / extra['train_images'], 2),
        'batch_size': recipe.batch_size, 'weights': metrics['weights'], 'images': metrics['images'],
        'engine': extra['versions'][-1]['engine'], 'versions': extra['versions'],
        'train_seconds': max(status['train_seconds'],  # of the slowest seed
                             previous.get('train_seconds', 0.)),
        'images_per_second': status['images_per_second'],
        'command': _essential_command(extra['command']), 'date': metrics['date']}
    if 'dataset_identity' in extra:  # early runs did not keep it
        result['data_set_identity'] = extra['dataset_identity']
    if previous:
        _compare(path, previous, result)
    size = model_info.measure_model(config.model, recipe.image_size, result['classes'])
    result.update(_with_seed(previous, config.seed, metrics), params=size['params'],
                  ops=size['ops'])
    os.makedirs(folder, exist_ok=True)
    files.write_json(path, result)
    return path


def _compare(path: str, previous: Result, result: Result) -> None:
    before, after = (
        dict(Recipe.from_json(each['settings']).to_json(), weights=each['weights'],
             dataset_identity=each.get('data_set_identity')) for each in (previous, result))
    if None in (before['dataset_identity'], after['dataset_identity']):
        before['dataset_identity'] = after['dataset_identity']
    changes = [f'{name} is {before[name]}, not {after[name]}'
               for name in sorted(before) if before[name] != after[name]]
    if changes:
        raise UserError(f"{path} holds a result of other settings ({'; '.join(changes)}): remove "
                        'it, or give another --results')


def _with_seed(previous: Result, seed: int, metrics: Dict[str, Any]) -> Result:
    # 'accuracy_tta' is left out unless all seeds have it, from the same test-time augmentation.
    seeds, tta = sorted({*previous.get('seeds', ()), seed}), metrics.get('tta')
    result: Result = {'seeds': seeds}
    for name in ('accuracy', 'accuracy_tta'):
        by_seed = dict(zip(previous.get('seeds', ()), previous.get(name, {}).get('values', ())))
        by_seed[seed] = metrics.get(name)
        values = [by_seed.get(each) for each in seeds]
        if name == 'accuracy' or tta == previous.get('tta', tta) and None not in values:
            # ddof=1: the seeds are a sample of all seeds
            std = np.std(values, ddof=1) if len(values) > 1 else 0.
            result[name] = {'mean': float(np.mean(values)), 'std': float(std), 'values': values}
    return dict(result, tta=tta) if 'accuracy_tta' in result else result


def _essential_command(command: str) -> str:
    words, flag = shlex.split(command), f'--?({UNRECORDED_FLAGS})'
    kept = [word for before, word in zip(['', *words], words)
            if not re.match(f'{flag}(=|$)|--?resume', word) and not re.match(flag + '$', before)]
    return ' '.join(map(shlex.quote, kept))
