"""The figures of README.md, of docs/speed.md and of recipes are those of results/*.json."""

import json
import os
import shutil

import pytest

import models
from permafrost import files
from permafrost.errors import UserError
from permafrost.experiments import accuracy_tables, results
from permafrost.recipes import catalog, durations
from tests.processes import ROOT, command, finish

FIELDS = {'model', 'recipe', 'data_set', 'steps', 'epochs', 'batch_size', 'seeds', 'accuracy',
          'weights', 'engine', 'versions', 'train_seconds', 'images_per_second', 'command', 'date'}


def _results():
    return accuracy_tables.load(os.path.join(ROOT, 'results'))


def test_no_table_is_stale():
    finish(command('tools/report.py', '--check', '--readme=' + os.path.join(ROOT, 'README.md'),
                   '--speed=' + os.path.join(ROOT, 'docs', 'speed.md'),
                   '--results=' + os.path.join(ROOT, 'results')))


def test_a_changed_result_makes_it_stale(tmp_path):
    folder = str(tmp_path / 'results')
    shutil.copytree(os.path.join(ROOT, 'results'), folder)
    path = os.path.join(folder, 'tuto-tutorial-10000.json')
    with open(path) as stream:
        value = json.load(stream)
    value['accuracy']['mean'] -= 0.01
    files.write_json(path, value)
    output = finish(command('tools/report.py', '--check', '--results=' + folder,
                            '--readme=' + os.path.join(ROOT, 'README.md')), 1)
    assert 'stale: run make readme' in output


def test_results_are_whole():
    assert _results()
    for result in _results():
        assert FIELDS <= set(result), result
        values = result['accuracy']['values']
        assert len(values) == len(result['seeds'])
        assert result['images'] == 10000
        assert all(0 < v < 1 and abs(v * 10000 - round(v * 10000)) < 1e-6 for v in values)


@pytest.mark.parametrize('model, recipe, steps, which, least', [
    ('tuto', 'tutorial', 10000, 'accuracy', 0.805),
    ('alex2', 'tutorial', 10000, 'accuracy', 0.805),
    ('squeeze1', 'tutorial', 10000, 'accuracy', 0.65),
    ('lenet5', 'lenet5', 7813, 'accuracy', 0.65),
    ('davidnet', 'davidnet', 600, 'accuracy', 0.94),
    ('squeeze1', 'squeeze', 30000, 'accuracy', 0.878),
    ('cifarnet', 'cifarnet', 11719, 'accuracy', 0.84),
    ('resnet20', 'resnet', 4000, 'accuracy', 0.9125),
    ('nin_bn', 'nin_bn', 4000, 'accuracy', 0.91),
    ('sprint', 'sprint', 250, 'accuracy_tta', 0.94)])
def test_what_was_promised(model, recipe, steps, which, least):
    found, = [r for r in _results() if (r['model'], r['recipe'], r['steps'], r['data_set']) == (
        model, recipe, steps, 'cifar10')]
    assert found[which]['mean'] >= least
    if model == 'sprint':
        assert len(found['seeds']) == 3 and found['train_seconds'] <= 30 * 60
    assert found['weights'] == ('averaged' if recipe == 'tutorial' else 'raw')


@pytest.mark.parametrize('name', sorted(set(catalog.RECIPES) - {'tutorial'}))
def test_recipes_say_what_was_measured(name):
    found = [r for r in _results() if r['recipe'] == name and r['data_set'] == 'cifar10'
             and r['steps'] == durations.num_steps(catalog.RECIPES[name])]
    expected = [accuracy_tables.sentence(result) for result in found] or [catalog.NOT_MEASURED]
    about = ' '.join(catalog.RECIPES[name].about.split())
    assert [text for text in expected if text in about]


def test_results_are_of_the_recipes_that_there_are():
    for result in _results():
        recipe = catalog.RECIPES[result['recipe']]
        changed = {name for name, value in result['settings'].items()
                   if name not in ('about', 'precision') and
                   json.loads(json.dumps(getattr(recipe, name))) != value}
        assert not changed, (result['model'], recipe.name)


def _result(**changes):
    return dict({
        'model': 'sprint', 'recipe': 'sprint', 'data_set': 'cifar10', 'steps': 250, 'epochs': 10.0,
        'accuracy': {'mean': 0.9123, 'std': 0.0012, 'values': [0.9111, 0.9135]}, 'seeds': [1, 2],
        'settings': {'image_size': 32, 'precision': 'bfloat16'}, 'engine': 'tf2',
        'train_seconds': 630.}, **changes)


def test_each_family_has_its_table():
    tta = {'mean': 0.9345, 'std': 0.001, 'values': [0.9335, 0.9355]}
    lines = accuracy_tables.tables([
        _result(), _result(tta='flip', accuracy_tta=tta), _result(model='tuto', recipe='mine'),
        _result(model='tuto', recipe='tutorial', steps=10000, settings={'image_size': 24})])
    titles = [line for line in lines if line.startswith('###')]
    assert titles == ['### ' + accuracy_tables.FAMILIES[0][0], '### The fast family', '### Others']
    rows = [line for line in lines if line.startswith(('| sprint', '| tuto'))]
    ours = '| sprint | sprint | 1.97 | 236.70 | 10 | **91.23 ± 0.12** | '
    end = ' | 94.01 in 8 epochs (flip_shift) | 2 | 10 | tf2, bfloat16 |'
    assert rows[0].endswith(' | 10,000 | **91.23 ± 0.12** | – | 81.0 to 81.4 | 2 | 10 | tf2 |')
    assert rows[1:3] == [ours + '–' + end, ours + '93.45 ± 0.10 (flip)' + end]
    assert rows[3].startswith('| tuto | mine |') and '| – | – |' in rows[3]


def test_what_was_not_measured_is_said():
    last = ' '.join(accuracy_tables.tables([_result()])[-5:])
    assert '`davidnet`' in last and '`resnet110`' in last and '`sprint`' not in last
    every = [_result(model=model) for model in models.MODELS]
    assert 'Not trained' not in '\n'.join(accuracy_tables.tables(every))


def test_what_was_published_is_of_as_many_steps():
    short = _result(model='tuto', recipe='tutorial', steps=300)
    assert '81.0 to 81.4' not in '\n'.join(accuracy_tables.tables([short]))


def test_a_command_names_no_place():
    assert results._command(
        'python train.py --model sprint --log_dir=/tmp/x --run "/tmp/a b/1" --resume --seed 2 '
        '--set epochs=8 --log_steps 25') == 'python train.py --model sprint --seed 2 --set epochs=8'


def test_marks_must_be_there():
    with pytest.raises(UserError, match='must have the lines'):
        accuracy_tables.render('no marks', [])
    with pytest.raises(UserError, match='end of training'):
        accuracy_tables.render(accuracy_tables.BEGIN % 'results' + accuracy_tables.END % 'results', [], 'training')
