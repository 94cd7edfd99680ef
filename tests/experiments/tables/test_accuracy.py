"""The README's tables of accuracy, and the accuracies in recipes, are those of results/*.json."""

import os
import re
import shutil

import pytest

import models
from permafrost import files
from permafrost.experiments import model_info, results
from permafrost.experiments.tables import accuracy
from permafrost.recipes import catalog, durations, overrides
from tests import in_process
from tests.processes import ROOT

PAGES = ('README.md', 'docs/speed.md', 'docs/deploy.md')


def test_no_table_is_stale():
    result = in_process.run('tools/report.py', '--check', f'--readme={ROOT}/README.md',
                            f'--speed={ROOT}/docs/speed.md', f'--deploy={ROOT}/docs/deploy.md',
                            f'--results={ROOT}/results')
    assert result.code == 0, result.stderr


def test_a_changed_result_makes_the_readme_stale(tmp_path):
    folder = str(tmp_path / 'results')
    shutil.copytree(os.path.join(ROOT, 'results'), folder)
    path = os.path.join(folder, 'tuto-tutorial-10000.json')
    value = files.read_json(path)
    value['accuracy']['mean'] -= 0.01
    files.write_json(path, value)
    result = in_process.run('tools/report.py', '--check', f'--results={folder}',
                            f'--readme={ROOT}/README.md')
    assert result.code == 1 and 'stale: run make readme' in result.stderr


def test_a_page_of_ones_own_is_the_only_one_that_is_written(tmp_path, monkeypatch):
    for name in PAGES:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        shutil.copy(os.path.join(ROOT, name), str(path))
    (tmp_path / 'results').mkdir()
    monkeypatch.chdir(tmp_path)

    def changed():
        return {name for name in PAGES
                if (tmp_path / name).read_text() != open(os.path.join(ROOT, name)).read()}
    result = in_process.run('tools/report.py', '--results=results', '--readme=README.md')
    assert result.code == 0 and changed() == {'README.md'}
    result = in_process.run('tools/report.py', '--results=results')
    assert result.code == 0 and changed() == set(PAGES)


def _percent(summary):
    spread = f" ± {100 * summary['std']:.2f}" if len(summary['values']) > 1 else ''
    return f"{100 * summary['mean']:.2f}{spread} %"


def _expected_sentence(result):
    """Return what the description of a recipe says of its result."""
    text = f"Accuracy: {_percent(result['accuracy'])}"
    if 'tta' in result:
        text += f", {_percent(result['accuracy_tta'])} with --tta {result['tta']}"
    seeds = len(result['seeds'])
    gpu = results.gpu(result)
    return (f"{text} ({seeds} seed{'s' * (seeds > 1)}, {result['train_seconds'] / 60:.0f} minutes"
            f"{gpu and ' on ' + gpu}, {result['engine']}).")


@pytest.mark.parametrize('name', sorted(set(catalog.RECIPES) - {'tutorial'}))
def test_recipes_give_the_recorded_accuracy(name):
    recorded = [r for r in results.load(os.path.join(ROOT, 'results'))
                if r['recipe'] == name and r['dataset'] == 'cifar10' and not results.changes(r)
                and r['steps'] == durations.num_steps(catalog.RECIPES[name])]
    description = ' '.join(catalog.RECIPES[name].description.split())
    assert recorded or 'Accuracy: not measured yet.' in description
    named = [r for r in recorded if re.search(rf"\b{r['model']}\b", description)]
    assert bool(named) == bool(recorded)
    for result in named:
        if f"--model {result['model']}" in description:
            assert _expected_sentence(result) in description
        else:
            assert (f"{result['model']}: {_percent(result['accuracy'])}, "
                    f"{_percent(result['accuracy_tta'])} (") in description


def _result(**changes):
    return dict({
        'model': 'sprint', 'recipe': 'sprint', 'dataset': 'cifar10', 'steps': 250, 'epochs': 10.0,
        'accuracy': {'mean': 0.9123, 'std': 0.0012, 'values': [0.9111, 0.9135]}, 'seeds': [1, 2],
        'settings': catalog.RECIPES['sprint'].to_json(), 'engine': 'tf2', 'weights': 'raw',
        'train_seconds': 630., 'params': 1970000, 'ops': 236700000, 'versions': ()}, **changes)


def _tuto(**changes):
    return _result(**dict({'model': 'tuto', 'recipe': 'tutorial', 'steps': 10000,
                           'weights': 'averaged',
                           'settings': catalog.RECIPES['tutorial'].to_json()}, **changes))


def test_results_are_rows_in_the_order_of_the_recipes():
    tta = {'mean': 0.9345, 'std': 0.001, 'values': [0.9335, 0.9355]}
    lines = accuracy.table([
        _result(recipe='mine', settings=dict(catalog.RECIPES['sprint'].to_json(), name='mine')),
        _result(), _result(tta='flip_shift', accuracy_tta=tta),
        _result(tta='flip', accuracy_tta=tta), _tuto(), _tuto(dataset='photos')])
    size, end = '| 1.97 / 236.70 ', ' | 94.01 in 8 epochs (flip_shift) |'
    first = f'| sprint | sprint {size}| 10 epochs, 10 min | **91.23 ± 0.12**'
    assert lines[2:9] == [
        f'| tuto | tutorial {size}| 10,000 steps, 10 min | **91.23 ± 0.12** | 81.0 to 81.4 |',
        f'| tuto | tutorial on photos {size}| 10,000 steps, 10 min | **91.23 ± 0.12** | – |',
        first + end, first + ' / 93.45 ± 0.10' + end, first + ' / 93.45 ± 0.10 (flip)' + end,
        f'| sprint | mine {size}| 10 epochs, 10 min | **91.23 ± 0.12** | – |', '']
    text = ' '.join(lines[9:])
    assert 'Published accuracies: ' in text and 'cifar10-airbench' in text
    assert all(line.count('|') <= 7 for line in lines)  # at most six columns


def test_minutes_of_a_gpu_say_so():
    gpu, cpu = {'engine': 'tf2', 'gpu': 'NVIDIA H200'}, {'engine': 'tf2'}
    for versions, expected in (((gpu, gpu), '10 min on NVIDIA H200 |'), ((cpu, cpu), '10 min |'),
                               ((gpu, cpu), '10 min on CPU and NVIDIA H200 |')):
        assert f'10 epochs, {expected}' in accuracy.table([_result(versions=versions)])[2]


def test_what_was_changed_is_shown():
    settings = overrides.get_recipe(
        'tutorial', ['learning_rate=0.05', 'compute_dtype=bfloat16']).to_json()
    lines = accuracy.table([_tuto(), _tuto(settings=settings)])
    assert lines[3].startswith('| tuto | tutorial (learning_rate=0.05, bfloat16) | 1.97')


@pytest.mark.parametrize('name', [
    'a|b', '<script>alert(1)</script>', '[x](https://example.org)', 'https://example.org',
    '<!-- end of results -->', '`a`', 'a\nb\r', '\x1b]0;x\x07', '**b**', '&lt;', '\\|'])
def test_a_name_from_a_file_stays_text(name):
    plain, hostile = (accuracy.table([_tuto(dataset=each)]) for each in ('photos', name))
    assert len(hostile) == len(plain)
    row = hostile[2].replace(' | 1.97 /', '').split('tutorial on ')[1].split('1.97')[0]
    assert not re.search(r'[<>|\[\]`*\x00-\x1f]|://', row.split('|')[0]), row
    assert hostile[2].count('|') == plain[2].count('|')


def test_models_without_a_result_are_listed():
    text = ' '.join(accuracy.table([_result()])[-5:])
    assert '`davidnet`' in text and '`resnet110`' in text and '`sprint`' not in text
    assert '(' not in text.split('No result yet')[1]  # no network like them was trained
    every = [_result(model=model) for model in models.MODELS]
    assert 'No result yet' not in '\n'.join(accuracy.table(every))


def test_hours_of_models_without_a_result_are_those_of_their_family():
    # 100 steps of 500 images with 50 M operations in 100 s: 25 G operations per second.
    trained = dict(model='resnet20', ops=50e6, steps=100, batch_size=500, train_seconds=100)
    recipe = catalog.RECIPES[catalog.DEFAULT_RECIPES['resnet32']]
    ops = model_info.measure_model('resnet32', 32)['ops']
    hours = durations.num_steps(recipe) * recipe.batch_size * ops / 25e9 / 3600
    assert hours > 2
    slower = dict(trained, model='resnet110', ops=5e9, train_seconds=1e6)  # less similar
    text = ' '.join(accuracy.table([_result(**trained), _result(**slower)]))
    assert f'`resnet32` ({hours:.0f} h)' in text and '`sprint`,' in text
    gpu, cpu = {'engine': 'tf2', 'gpu': 'H200'}, {'engine': 'tf2'}
    for versions in ([gpu], [gpu, cpu]):
        on_gpu = _result(versions=versions, **trained)
        assert '`resnet32`,' in ' '.join(accuracy.table([on_gpu]))


def test_a_published_accuracy_is_shown_for_the_same_length():
    assert '81.0 to 81.4' not in '\n'.join(accuracy.table([_tuto(steps=300)]))
    assert '94.01 in 8 epochs' in '\n'.join(accuracy.table([_result(steps=300)]))
