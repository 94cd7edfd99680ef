"""The plot of a recipe's learning rate."""

import types

import numpy as np
import pytest
from PIL import Image

from permafrost.errors import UsageError
from permafrost.experiments import schedule_plot


def flag_values(**values):
    return types.SimpleNamespace(**dict(
        {'model': 'tuto', 'recipe': None, 'set': [], 'output': None, 'steps': None, 'run': None,
         'resume': False}, **values))


def test_the_curve_peaks_where_the_schedule_does(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    schedule_plot.plot(flag_values(recipe='davidnet_tricks'))
    assert 'learning rate 0 to 1 over 10 epochs' in capsys.readouterr().out
    image = Image.open(str(tmp_path / 'davidnet_tricks-learning-rate.png'))
    curve = (np.asarray(image.convert('RGB')) == (0x1f, 0x5f, 0xb4)).all(-1)
    rows, columns = np.nonzero(curve)
    peak = columns[rows == rows.min()].mean()
    assert (peak - columns.min()) / (columns.max() - columns.min()) == pytest.approx(
        2 / 10, abs=0.01)


def test_two_variants_of_a_recipe_are_two_files_with_a_title_each(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    titles = []
    monkeypatch.setattr(schedule_plot, 'draw', lambda epochs, rates, title, path: (
        titles.append(title) or b''))
    schedule_plot.plot(flag_values(set=['learning_rate=0.05', 'schedule=linear 0:0 5:1 24:0']))
    schedule_plot.plot(flag_values(set=['learning_rate=1/64']))
    schedule_plot.plot(flag_values(output='mine.png'))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        'mine.png', 'tutorial-learning_rate=0.015625-learning-rate.png',
        'tutorial-learning_rate=0.05-schedule=linear_0_0_5_1_24_0-learning-rate.png']
    assert titles == [
        'tutorial: sgd, batch size 128\nlearning_rate=0.05, schedule=linear 0:0 5:1 24:0',
        'tutorial: sgd, batch size 128\nlearning_rate=0.015625', 'tutorial: sgd, batch size 128']


@pytest.mark.parametrize('values, message', [
    ({'output': 'lr'}, "--output must end in .svg or .png, not 'lr'"),
    ({'steps': 9}, '--steps has no effect with --plot, which plots a whole recipe: leave it out'),
    ({'resume': True}, '--resume has no effect with --plot'),
    ({'run': 'runs/tuto/1'}, 'use --recipe=RUN'),
    ({'set': ['schedule=exponential 100 0.001']}, 'not finite'),
    ({'set': ['schedule=linear 0:1e308 1:-1e308']}, 'must be 0 or more')])
def test_a_wrong_flag_is_one_line_and_draws_nothing(values, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as error:
        schedule_plot.plot(flag_values(**values))
    assert message in str(error.value) and '\n' not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_a_wrong_model_is_one_line():
    with pytest.raises(UsageError, match='did you mean tuto'):
        schedule_plot.plot(flag_values(model='tutu'))


def test_a_change_of_a_recipe_in_a_file_is_in_the_name_of_the_picture(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'mine.json').write_text('{"name": "mine"}')
    for changes in ([], ['learning_rate=0.25']):
        schedule_plot.plot(flag_values(recipe='mine.json', set=changes))
    assert sorted(path.name for path in tmp_path.glob('*.png')) == [
        'mine-learning-rate.png', 'mine-learning_rate=0.25-learning-rate.png']
