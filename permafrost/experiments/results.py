"""results/*.json: measured accuracies, one file for each model, recipe, dataset and length."""

import glob
import os
import shlex
from typing import Any, Dict, List

import numpy as np

from permafrost import files, runs
from permafrost.datasets import registry
from permafrost.errors import UserError
from permafrost.experiments import model_info
from permafrost.recipes.recipe import Recipe

Result = Dict[str, Any]

# Flags that do not change the training: a recorded command leaves them out.
UNRECORDED_FLAGS = ('run', 'log_dir', 'data_dir', 'resume', 'log_steps', 'summary_steps',
                    'histogram_steps')


def load(folder: str) -> List[Result]:
    """Return the accuracy results in `folder`, by file name. Raises UserError."""
    results = [_read(path) for path in sorted(glob.glob(os.path.join(folder, '*.json')))]
    return [result for result in results if 'accuracy' in result]


def _read(path: str) -> Result:
    """Return the result in a file, {} if there is none. Raises UserError if it is damaged."""
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
        # of the slowest seed
        'train_seconds': max(status['train_seconds'], previous.get('train_seconds', 0.)),
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
    """Raise UserError if the result at `path` has other settings than the new one."""
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
    """Return the seeds and accuracies of the `previous` result and of the new `metrics`.

    'accuracy_tta' is left out unless all seeds have it, from the same test-time augmentation.
    """
    by_seed = {}  # name of the accuracy -> {seed: value}
    for name in ('accuracy', 'accuracy_tta'):
        values = previous.get(name, {}).get('values', ())
        by_seed[name] = dict(zip(previous.get('seeds', ()), values))
        by_seed[name].pop(seed, None)
        if name in metrics:
            by_seed[name][seed] = metrics[name]
    seeds, tta = sorted(by_seed['accuracy']), metrics.get('tta')
    result = {'seeds': seeds, 'accuracy': _summary([by_seed['accuracy'][s] for s in seeds])}
    if tta and tta == previous.get('tta', tta) and sorted(by_seed['accuracy_tta']) == seeds:
        result['tta'] = tta
        result['accuracy_tta'] = _summary([by_seed['accuracy_tta'][s] for s in seeds])
    return result


def _summary(values: List[float]) -> Dict[str, Any]:
    # ddof=1: the seeds are a sample of all seeds
    std = np.std(values, ddof=1) if len(values) > 1 else 0.
    return {'mean': float(np.mean(values)), 'std': float(std), 'values': values}


def _essential_command(command: str) -> str:
    """Return the command of a training without UNRECORDED_FLAGS."""
    words, kept = shlex.split(command), []
    while words:
        word = words.pop(0)
        name, equals, _ = word.lstrip('-').partition('=')
        if not word.startswith('-') or name not in UNRECORDED_FLAGS:
            kept.append(word)
        elif not equals and name != 'resume':
            words[:1] = []
    return ' '.join(map(shlex.quote, kept))
