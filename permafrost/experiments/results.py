"""results/*.json: measured accuracies, a file for each model, recipe, dataset, change, length."""

import dataclasses
import glob
import os
import re
import shlex
from typing import Any, Dict, List, Optional, Sequence, Set, Tuple

import numpy as np

from permafrost import files, runs, schema
from permafrost.cli.commands import next_command
from permafrost.cluster import cluster_spec
from permafrost.config import Config
from permafrost.datasets import registry
from permafrost.errors import UsageError, UserError, pluralize, printable
from permafrost.evaluation.frozen_graphs.reading import model_card
from permafrost.experiments import model_info
from permafrost.recipes import overrides
from permafrost.recipes.recipe import PLAIN_NAME, Recipe
from permafrost.schema import limited

Result = Dict[str, Any]

# Flags that do not change the training: a recorded command leaves them and --resume out.
UNRECORDED_FLAGS = 'run|log_dir|data_dir|log_steps|summary_steps|histogram_steps'
# Outside the recipe, what changes a training: the images held out, where batches come from, whose
# weights it begins with, keeps or learns from, the precision of its first steps, and its cluster.
OTHER_SETTINGS = ('validation', 'source', 'teacher', 'init_from', 'freeze',
                  'earlier_compute_dtype', 'cluster')

LOCK = '.lock'


@dataclasses.dataclass
class Summary:
    """An accuracy over the seeds, or over some of them."""
    mean: float = limited(minimum=0, maximum=1)
    std: float = limited(minimum=0, maximum=1)
    values: Tuple[float, ...] = limited(minimum=0, maximum=1, count=(1, 1000))
    seeds: Optional[Tuple[int, ...]] = None  # of test-time augmentation; None: all


@dataclasses.dataclass
class SeedTraining:
    """How a seed was trained."""
    seed: int
    steps: int = limited(minimum=0)
    train_seconds: float = limited(minimum=0)
    versions: Tuple[Dict[str, str], ...] = ()


@dataclasses.dataclass
class ResultFile:
    """The fields of a result."""
    settings: Dict[str, Any]
    accuracy: Summary
    seeds: Tuple[int, ...]
    train_seconds: float
    model: str = limited(test=PLAIN_NAME, meaning='a plain name')
    recipe: str = limited(test=PLAIN_NAME, meaning='a plain name')
    dataset: str = limited(count=(1, 255), earlier='data_set')
    steps: int = limited(minimum=0)
    epochs: float = limited(minimum=0)
    weights: str = limited(names=('averaged', 'raw'))
    engine: str = limited(test=PLAIN_NAME, meaning='a plain name')
    params: int = limited(minimum=0)
    ops: int = limited(minimum=0)
    accuracy_tta: Optional[Summary] = None
    tta: Optional[str] = limited(None, test=PLAIN_NAME, meaning='a plain name')
    dataset_identity: Optional[str] = limited(None, earlier='data_set_identity')
    teacher: Optional[str] = None
    init_from: Optional[str] = None
    freeze: Optional[str] = None
    earlier_compute_dtype: Optional[str] = None
    source: str = limited('memory', names=('memory', 'stream'))
    cluster: Optional[str] = None  # see other_settings; None: a single process
    validation: int = limited(0, minimum=0)  # images held out of the training set
    classes: int = limited(10, minimum=1)
    batch_size: int = limited(1, minimum=1)
    images: int = limited(1, minimum=1)
    images_per_second: Optional[float] = None
    versions: Tuple[Dict[str, str], ...] = ()
    trainings: Tuple[SeedTraining, ...] = ()  # one for each seed; early results have none
    command: str = ''
    date: str = ''


def load(folder: str) -> List[Result]:
    """Return the accuracy results in `folder`, by file name. Raises UserError for a damaged one."""
    paths = sorted(glob.glob(os.path.join(glob.escape(folder), '*.json')))
    return [read(path) for path in paths
            if 'accuracy' in schema.read(path, Dict[str, Any], schema.RESTORE)]


def read(path: str) -> Result:
    """Return the result in the file `path`. Raises UserError if it is damaged."""
    result = schema.read(path, ResultFile, schema.RESTORE)
    try:
        Recipe.from_json(result['settings'], 'settings')
        for name in ('accuracy', 'accuracy_tta'):
            summary = result.get(name)
            if summary and len(summary['values']) != len(set(_seeds_of(summary, result))):
                raise UsageError(f'{name}.values must be one for each of the seeds')
        if bool(result.get('tta')) != bool(result.get('accuracy_tta')):
            raise UsageError('accuracy_tta and tta go together')
    except UsageError as error:
        raise UserError(f'{printable(path)} is damaged ({error}): {schema.RESTORE}') from None
    return result


def record(folder: str, run: str, metrics: Dict[str, Any]) -> str:
    """Write the test metrics of a finished run to a file in `folder`; return its path.

    Runs that differ only in their seed share a file; see _name. A seed that is already there is
    replaced. A run that --patience stopped is finished at its last step.

    Raises UserError if the run is not finished, if the metrics are not of the test images, or if
    the file holds a result of other settings or of another engine.
    """
    config, extra = runs.read_config(run)
    _check_recordable(run, config, metrics)
    others = other_settings(run, config)
    dataset = registry.display_name(config.dataset, config.data_dir)
    path = os.path.join(folder, _name(config, dataset, metrics, others))
    result = {**_facts(run, config, extra), **others, 'dataset': dataset, 'steps': metrics['step'],
              'weights': metrics['weights'], 'images': metrics['images'], 'date': metrics['date']}
    os.makedirs(folder, exist_ok=True)
    with files.locked(os.path.join(folder, LOCK), lambda: None):  # a seed may end at the same time
        previous = read(path) if os.path.exists(path) else {}
        if previous:
            _compare(path, previous, result)
        result.update(_with_training(previous, config.seed, result))
        result['epochs'] = round(config.epoch_of(result['steps']), 2)
        result.update(_with_seed(previous, config.seed, metrics))
        files.write_json(path, result)
    if 'tta' in previous and 'tta' not in result:
        print(f"note: {printable(path)} had an accuracy with --tta {previous['tta']}: evaluate "
              'this run with it, too, to have one again', flush=True)
    if 'tta' in result and not has_tta(result):
        seeds = ', '.join(map(str, result['accuracy_tta']['seeds']))
        print(f"note: {printable(path)} has an accuracy with --tta {result['tta']} only for seed "
              f'{seeds}: evaluate the others with it, too', flush=True)
    return path


def _check_recordable(run: str, config: Config, metrics: Dict[str, Any]) -> None:
    """Raise UserError if a run is not finished, or `metrics` are not its test metrics."""
    status = runs.read_status(run)
    if metrics['split'] != 'test':
        raise UserError('--results records test accuracy: leave out --split')
    if 'train_seconds' not in status:
        raise UserError(f'{run} has no complete status.json, so its training time is unknown')
    stopped_early = status.get('state') == 'done' and metrics['step'] == status.get('step')
    if metrics['step'] < min(config.steps, status.get('step', 0)):
        raise UserError(f"a result must be of the last step, not of step {metrics['step']}: leave "
                        'out --step')
    if metrics['step'] < config.steps and not (config.patience and stopped_early):
        raise UserError(f"{run} is at step {metrics['step']} of {config.steps}: finish its "
                        'training first')


def _facts(run: str, config: Config, extra: Dict[str, Any]) -> Result:
    """Return the fields of a result that the run gives, whatever its accuracy."""
    status, recipe = runs.read_status(run), config.recipe
    versions = extra.get('versions') or [{}]
    size = _counts(run, config, len(extra['classes']))
    facts = {
        'model': config.model, 'recipe': recipe.name, 'settings': recipe.to_json(),
        'classes': len(extra['classes']), 'batch_size': recipe.batch_size,
        'engine': versions[-1].get('engine', 'unknown'), 'versions': versions,
        'train_seconds': status['train_seconds'],
        'images_per_second': status.get('images_per_second'),
        'command': _essential_command(extra.get('command', '')),
        'params': size['params'], 'ops': size['ops']}
    if 'dataset_identity' in extra:  # early runs did not keep it
        facts['dataset_identity'] = extra['dataset_identity']
    return facts


def _counts(run: str, config: Config, classes: int) -> Dict[str, Any]:
    """Return the 'params' and 'ops' of a network: without the filters that pruning has removed.

    Raises UserError if these are removed and the run is not frozen.
    """
    if not config.recipe.structured_sparsity:
        return model_info.measure_model(config.model, config.recipe.image_size, classes)
    graph = os.path.join(run, config.model + '.pb')
    card = model_card.read_model_card(graph) if os.path.exists(graph) else model_card.ModelCard()
    if card.params is None or card.ops is None or card.step != runs.read_status(run).get('step'):
        raise UserError(f'{printable(run)} has fewer filters than its model, and freezing counts '
                        f"them: first run {next_command('freeze_graph.py', '--run', run)}")
    return {'params': card.params, 'ops': card.ops}


def _name(config: Config, dataset: str, metrics: Dict[str, Any], others: Dict[str, Any]) -> str:
    """Return the file name of a result: model, recipe, dataset, what --set changed, steps."""
    parts = [config.model, config.recipe.name]
    parts += [dataset] if config.dataset != 'cifar10' else []
    changes = overrides.differences(config.recipe)
    if metrics['weights'] != config.recipe.default_weights:
        changes.append(f"weights={metrics['weights']}")
    changes += [f'patience={config.patience}'] if config.patience else []
    changes += [f'{name}={value}' for name, value in others.items()]
    parts += [','.join(changes)] if changes else []
    # --patience and asynchronous clusters end each seed at another step; the seeds share a file.
    return f"{files.safe_name('-'.join(parts))}-{config.steps}.json"


def other_settings(run: str, config: Config) -> Dict[str, Any]:
    """Return those of OTHER_SETTINGS in which a run differs from a plain training.

    'cluster' is such as 'sync 4 workers 1 backup'. Raises UserError if cluster.json is damaged.
    """
    values = dict(vars(config), cluster=_cluster(run))
    return {name: values[name] for name in OTHER_SETTINGS
            if values[name] != getattr(Config, name, None)}


def _cluster(run: str) -> Optional[str]:
    saved = cluster_spec.load_cluster_json(run)
    if not saved:
        return None
    workers, backups = len(saved['workers']), saved.get('backup_workers', 0)
    backup_text = f" {pluralize(backups, 'backup')}" if backups else ''
    return f"{saved.get('mode', 'async')} {pluralize(workers, 'worker')}{backup_text}"


def changes(result: Result) -> List[str]:
    """Return 'name=value' for each setting of a result that its recipe in the catalog lacks."""
    recipe = Recipe.from_json(result['settings'])
    found = overrides.differences(recipe)
    found += [f'{name}={result[name]}' for name in OTHER_SETTINGS if result.get(name)]
    if result['weights'] != recipe.default_weights:
        found.append(f"weights={result['weights']}")
    return found


def gpu(result: Result) -> str:
    """Return 'NVIDIA H200', or 'CPU and NVIDIA H200' if both trained; '' if only a CPU did."""
    names = hardware(result.get('versions', ()))
    return ' and '.join(name or 'CPU' for name in sorted(names)) if names != {''} else ''


def hardware(versions: Sequence[Dict[str, str]]) -> Set[str]:
    """Return the names of the GPUs that trained; '' stands for a CPU."""
    return {each.get('gpu', '') for each in versions} or {''}


def _compare(path: str, previous: Result, result: Result) -> None:
    before, after = (
        dict(Recipe.from_json(each['settings']).to_json(), weights=each['weights'],
             engine=each['engine'],
             dataset_identity=each.get('dataset_identity')) for each in (previous, result))
    if None in (before['dataset_identity'], after['dataset_identity']):
        before['dataset_identity'] = after['dataset_identity']
    changes = [f'{name} is {before[name]}, not {after[name]}'
               for name in sorted(before) if before[name] != after[name]]
    if changes:
        raise UserError(f"{path} holds a result of other settings ({'; '.join(changes)}): remove "
                        'it, or give another --results')


def has_tta(result: Result) -> bool:
    """Return whether all seeds of a result were evaluated with test-time augmentation."""
    return 'tta' in result and (
        set(_seeds_of(result['accuracy_tta'], result)) == set(result['seeds']))


def _seeds_of(summary: Dict[str, Any], result: Result) -> Sequence[int]:
    return summary.get('seeds') or result['seeds']


def _with_training(previous: Result, seed: int, result: Result) -> Result:
    """Return the fields of a result that tell how long its seeds trained, and with what.

    `result` has those of `seed`, which replace what `previous` says of it.
    """
    known = {each['seed']: each for each in previous.get('trainings', ())}
    trainings = [known.get(other, _training_of(other, previous))
                 for other in previous.get('seeds', ()) if other != seed]
    trainings.append(_training_of(seed, result))
    versions: List[Dict[str, str]] = []
    for each in trainings:
        versions += [one for one in each['versions'] if one not in versions]
    return {'trainings': sorted(trainings, key=lambda each: each['seed']), 'versions': versions,
            # Of the longest and of the slowest seed.
            **{name: max(each[name] for each in trainings) for name in ('steps', 'train_seconds')}}


def _training_of(seed: int, result: Result) -> Dict[str, Any]:
    return {'seed': seed, 'steps': result['steps'], 'train_seconds': result['train_seconds'],
            'versions': list(result.get('versions', ()))}


def _with_seed(previous: Result, seed: int, metrics: Dict[str, Any]) -> Result:
    """Return the fields of a result that depend on the seeds: those of `previous`, and `seed`."""
    accuracies = dict(zip(previous['seeds'], previous['accuracy']['values'])) if previous else {}
    with_tta: Dict[int, float] = {}
    if 'tta' in previous and metrics.get('tta') in (None, previous['tta']):
        summary = previous['accuracy_tta']
        with_tta = dict(zip(_seeds_of(summary, previous), summary['values']))
    accuracies[seed] = metrics['accuracy']
    with_tta.pop(seed, None)
    if 'tta' in metrics:
        with_tta[seed] = metrics['accuracy_tta']
    result: Result = {'seeds': sorted(accuracies), 'accuracy': _summary(accuracies)}
    if with_tta:
        result.update(tta=metrics.get('tta') or previous['tta'], accuracy_tta=_summary(with_tta))
        if set(with_tta) != set(accuracies):
            result['accuracy_tta']['seeds'] = sorted(with_tta)
    return result


def _summary(by_seed: Dict[int, float]) -> Dict[str, Any]:
    values = [by_seed[seed] for seed in sorted(by_seed)]
    # ddof=1: the seeds are a sample of all seeds
    std = np.std(values, ddof=1) if len(values) > 1 else 0.
    return {'mean': float(np.mean(values)), 'std': float(std), 'values': values}


def _essential_command(command: str) -> str:
    flag = f'--?({UNRECORDED_FLAGS})'
    try:
        words = shlex.split(command)
    except ValueError:  # config.json was edited
        return command
    words[1:2] = map(os.path.basename, words[1:2])  # the script: the place of a checkout
    kept = [word for before, word in zip(['', *words], words)
            if not re.match(f'{flag}(=|$)|--?resume', word) and not re.match(flag + '$', before)]
    return ' '.join(map(shlex.quote, kept))
