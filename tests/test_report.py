"""The figures of README.md and docs/speed.md are those of results/*.json."""

import json
import os
import shutil

import pytest

from permafrost import config, report
from tests.processes import ROOT, command, finish

FIELDS = {'model', 'recipe', 'data_set', 'steps', 'epochs', 'batch_size', 'seeds', 'accuracy',
          'weights', 'engine', 'versions', 'train_seconds', 'images_per_second', 'command', 'date'}


def _results():
    return report.load(os.path.join(ROOT, 'results'))


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
    config.write_json(path, value)
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


@pytest.mark.parametrize('model, least', [('tuto', 0.805), ('alex2', 0.805), ('squeeze1', 0.65)])
def test_what_was_promised(model, least):
    found = [r for r in _results() if r['model'] == model and r['recipe'] == 'tutorial'
             and r['steps'] == 10000]
    assert found and found[0]['accuracy']['mean'] >= least
    assert found[0]['weights'] == 'averaged'


def test_marks_must_be_there():
    with pytest.raises(config.UserError, match='must have the lines'):
        report.render('no marks', [])
    with pytest.raises(config.UserError, match='end of training'):
        report.render(report.BEGIN % 'results' + report.END % 'results', [], 'training')


def test_training_is_shown_as_it_was_recorded(tmp_path):
    assert report.training(str(tmp_path)) == ['Not recorded yet.']

    def figure(median, **more):
        return dict(median=median, **more)

    speeds = dict(zip(('tf1', 'tf1-mkl', 'tf2', 'pytorch'), (100., 1234.4, 300.25, 200.)))
    figures = {'tuto %s: %s' % (kind, name): figure(value)
               for kind in ('forward', 'backward', 'step') for name, value in speeds.items()}
    figures.update({'tuto %s: tf1-mkl by pytorch' % kind: figure(ratio) for kind, ratio in (
        ('forward', 6.1), ('backward', 6.2), ('step', 6.3))})
    figures['nin2 step: tf2'] = figure(50.)  # not in PyTorch: in the file alone
    figures['davidnet step: tf2, of the peak'] = figure(.7, target=.8, bound='least', met=False)
    config.write_json(str(tmp_path / 'benchmark-training.json'),
                      {'networks': {'tuto': {}, 'nin2': {}}, 'figures': figures})
    assert report.training(str(tmp_path))[2:] == [
        '| tuto | forward | 100 | 1234 | 300 | 200 | 6.10 |',
        '| tuto | backward | 100 | 1234 | 300 | 200 | 6.20 |',
        '| tuto | step | 100 | 1234 | 300 | 200 | 6.30 |', '',
        '- davidnet step: tf2, of the peak: 0.70, at least 0.8: **not met**.']
