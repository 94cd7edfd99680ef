"""results.csv: what is written is read; what is damaged is left out."""

import dataclasses

import pytest

from permafrost.evaluation import history
from permafrost.evaluation.history import EpochRow


def row(step, accuracy=.5, split='validation'):
    """Return a row with numbers that have no short decimal form."""
    return EpochRow(step / 7, step, 1 / 3, 2 / 3, split, 1e-17 / 3, accuracy, .1 / 3, 100.5, 1.25)


def test_rows_are_read_as_written(tmp_path):
    unknown = dataclasses.replace(row(12), train_loss=None, train_accuracy=None)
    rows = [row(3), row(6, .1 + .2), row(9, split='test'), unknown]
    history.write(str(tmp_path), rows)
    assert history.read(str(tmp_path)) == rows
    header, first = (tmp_path / 'results.csv').read_text().splitlines()[:2]
    assert header == ('epoch,step,train_loss,train_accuracy,eval_split,eval_loss,eval_accuracy,'
                      'learning_rate,images_per_second,train_seconds')
    assert first.split(',')[1] == '3'
    assert history.read(str(tmp_path / 'nothing')) == []


@pytest.mark.parametrize('change', [
    ('step', '-1'), ('step', '1.5'), ('step', '9' * 99), ('train_loss', 'nan'),
    ('train_loss', 'inf'), ('eval_accuracy', '1.01'), ('eval_split', '<script>'),
    ('eval_split', ''), ('epoch', 'x'), ('learning_rate', '')])
def test_a_damaged_row_is_left_out(tmp_path, change):
    history.write(str(tmp_path), [row(3), row(6), row(9)])
    path = tmp_path / 'results.csv'
    lines = path.read_text().splitlines()
    fields = lines[2].split(',')
    fields[history.COLUMNS.index(change[0])] = change[1]
    path.write_text('\n'.join([*lines[:2], ','.join(fields), lines[3], '12,13']))
    assert history.read(str(tmp_path)) == [row(3), row(9)]


@pytest.mark.parametrize('content', [
    b'', b'\0', b'\xff\xfe', b'epoch,step\n1,2\n', b'"' * 9, b'x' * 200000, b'a,' * 100000])
def test_another_file_has_no_rows(tmp_path, content):
    (tmp_path / 'results.csv').write_bytes(content)
    assert history.read(str(tmp_path)) == []


def test_a_file_that_is_not_read_in_full_is_kept(tmp_path, capsys):
    path, corrupt = tmp_path / 'results.csv', tmp_path / 'results.csv.corrupt'
    history.keep_damaged(str(tmp_path))
    history.write(str(tmp_path), [row(3), row(6)])
    good = path.read_bytes()
    history.keep_damaged(str(tmp_path))
    assert path.read_bytes() == good and not corrupt.exists() and not capsys.readouterr().out
    for content, rows in ((good + b'9,nonsense\n', 2), (good[:-9], 1), (b'my notes\nabc\n', 0),
                          (good.replace(b'step', b'stop', 1), 0), (good + b'"' * 200000, 2)):
        path.write_bytes(content)
        history.keep_damaged(str(tmp_path))
        assert corrupt.read_bytes() == content
        assert history.read(str(tmp_path)) == [row(3), row(6)][:rows]
        assert f'results.csv is damaged: kept as results.csv.corrupt; {rows} of its rows' in (
            capsys.readouterr().out)


def test_a_full_disk_keeps_the_good_rows_of_a_damaged_file(tmp_path, monkeypatch):
    history.write(str(tmp_path), [row(3)])
    with open(str(tmp_path / 'results.csv'), 'a') as stream:
        stream.write('9,nonsense\n')

    def fail(*arguments):
        raise OSError('No space left on device')

    with monkeypatch.context() as context:
        context.setattr(history, 'write', fail)
        with pytest.raises(OSError):
            history.keep_damaged(str(tmp_path))
    assert history.keep_damaged(str(tmp_path)) == history.read(str(tmp_path)) == [row(3)]


def test_metrics_of_later_steps_are_dropped_alone(tmp_path):
    (tmp_path / 'eval/test').mkdir(parents=True)
    path = tmp_path / 'eval/test/metrics.jsonl'
    lines = [f'{{"step": {step}, "images": 9, "accuracy": 0.5}}\n' for step in (3, 9, 5)]
    path.write_text(''.join(lines) + '{"half\n')
    history.drop_metrics_after(str(tmp_path), 9)
    assert path.read_text() == ''.join(lines) + '{"half\n'
    history.drop_metrics_after(str(tmp_path), 5)
    assert path.read_text() == lines[0] + lines[2] + '{"half\n'


def test_the_best_row_is_the_first_of_the_best_validation_accuracy():
    rows = [row(1, .2), row(2, .7), row(3, .7), row(4, .6)]
    assert history.best(rows) == rows[1]
    assert history.evaluations_without_improvement(rows) == 2
    assert history.evaluations_without_improvement(rows[:2]) == 0
    tested = [dataclasses.replace(each, eval_split='test') for each in rows]
    assert history.best(tested) is None and history.evaluations_without_improvement(tested) == 0
