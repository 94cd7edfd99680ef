"""Run directories: how they are created and found, config.json, status.json and the lock."""

import errno
import json
import os
import socket
import threading

import pytest

from permafrost import runs
from permafrost.errors import UserError
from tests import networks


@pytest.fixture
def config(synthetic):
    return networks.train_setup(synthetic, None, 3).config


def _write(run, config, classes=('a', 'b'), **extra):
    runs.write_config(run, config, dict(extra, classes=list(classes)))


def test_new_runs_are_numbered(tmp_path):
    assert runs.create(str(tmp_path), 'tuto') == str(tmp_path / 'tuto' / '1')
    os.makedirs(str(tmp_path / 'tuto' / '10'))
    os.makedirs(str(tmp_path / 'tuto' / 'notes'))
    assert runs.create(str(tmp_path), 'tuto') == str(tmp_path / 'tuto' / '11')
    assert os.path.isdir(runs.train_dir(str(tmp_path / 'tuto' / '11')))


def test_trainings_that_start_together_get_runs_of_their_own(tmp_path):
    directories = []
    threads = [threading.Thread(
        target=lambda: directories.append(runs.create(str(tmp_path), 'tuto'))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(directories) == sorted(str(tmp_path / 'tuto' / str(i)) for i in range(1, 9))


def test_a_named_run_is_not_overwritten(tmp_path, config):
    run = runs.create('', 'tuto', str(tmp_path / 'run'))
    assert not runs.exists(run)
    _write(run, config)
    assert runs.exists(run)
    with pytest.raises(UserError, match='already contains a run: add --resume'):
        runs.create('', 'tuto', run)


def test_checkpoints_without_a_config_are_not_continued(tmp_path):
    run = runs.create('', 'tuto', str(tmp_path / 'run'))
    (tmp_path / 'run' / 'train' / 'model.ckpt-3.index').write_text('')
    with pytest.raises(UserError, match='has checkpoints, but no config.json: restore it, or name'):
        runs.create('', 'tuto', run)


def test_a_run_is_not_started_inside_another_or_in_a_dataset(tmp_path, config):
    run = runs.create('', 'tuto', str(tmp_path / 'run'))
    _write(run, config)
    with pytest.raises(UserError, match=f'run/train is inside the run {run}: name another --run'):
        runs.create('', 'tuto', run + '/train')
    (tmp_path / 'data').mkdir()
    (tmp_path / 'data' / 'manifest.json').write_text('{}')
    with pytest.raises(UserError, match='data holds a packed dataset: name another --run'):
        runs.create('', 'tuto', str(tmp_path / 'data'))


def test_a_file_is_no_run(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(UserError, match='file is a file: name another --run'):
        runs.create('', 'tuto', str(tmp_path / 'file'))


@pytest.mark.parametrize('log_dir, directory', [('file', None), ('', 'file/run')])
def test_a_directory_that_cannot_be_created_is_named(tmp_path, log_dir, directory):
    (tmp_path / 'file').write_text('')
    with pytest.raises(UserError, match='cannot write to .*file.* name another --log_dir or --run'):
        runs.create(str(tmp_path / log_dir), 'tuto', directory and str(tmp_path / directory))


def test_the_most_recently_used_run_is_the_latest(tmp_path, config):
    with pytest.raises(UserError, match='no run under .* train one with .*train.py, or name'):
        runs.latest_run(str(tmp_path))
    for i, name in enumerate(['tuto/1', 'tuto/2', 'nin/1']):
        _write(runs.create('', '', str(tmp_path / name)), config)
        os.utime(str(tmp_path / name / 'config.json'), (i, i))
    assert runs.latest_run(str(tmp_path)) == str(tmp_path / 'nin' / '1')
    assert runs.list_runs(str(tmp_path), 'tuto') == [str(tmp_path / 'tuto' / i) for i in '12']
    os.utime(str(tmp_path / 'tuto' / '1' / 'config.json'), (9, 9))
    assert runs.latest_run(str(tmp_path)) == str(tmp_path / 'tuto' / '1')
    runs.write_status(str(tmp_path / 'nin' / '1'), state='running')  # it has just saved
    assert runs.latest_run(str(tmp_path)) == str(tmp_path / 'nin' / '1')
    _write(runs.create('', '', str(tmp_path / 'mine')), config)
    os.utime(str(tmp_path / 'nin' / '1' / 'status.json'), (10, 10))
    assert runs.latest_run(str(tmp_path)) == str(tmp_path / 'mine')


@pytest.mark.parametrize('model', ['*', 'tu*', '[t]uto', '..'])
def test_a_model_is_no_pattern(tmp_path, config, model):
    _write(runs.create('', '', str(tmp_path / 'runs' / 'tuto' / '1')), config)
    assert runs.list_runs(str(tmp_path / 'runs'), model) == []
    assert runs.list_runs(str(tmp_path / '*')) == []


def test_a_run_and_its_dataset_can_be_moved_together(tmp_path, config, synthetic):
    run = runs.create('', '', str(tmp_path / 'run'))
    versions = [{'engine': 'tf2'}]
    _write(run, config, versions=versions)
    with networks.registered():
        assert runs.read_config(run) == (config, {'classes': ['a', 'b'], 'versions': versions})
    with open(os.path.join(run, 'config.json')) as stream:
        stored = json.load(stream)['config']['data_dir']
    assert stored == os.path.relpath(synthetic.directory, run)
    (tmp_path / 'disk' / 'runs').mkdir(parents=True)
    (tmp_path / 'runs').symlink_to(tmp_path / 'disk' / 'runs')
    linked = runs.create('', '', str(tmp_path / 'runs' / 'a'))
    _write(linked, config)
    with networks.registered():
        for path in (linked, str(tmp_path / 'disk' / 'runs' / 'a')):
            assert runs.read_config(path)[0] == config


def test_a_config_of_an_earlier_version_is_read(tmp_path, config):
    run = runs.create('', '', str(tmp_path / 'run'))
    _write(run, config, data_set_identity='abc')
    with networks.registered():
        assert runs.read_config(run)[1]['dataset_identity'] == 'abc'


@pytest.mark.parametrize('text', [
    '', '{', '[]', '{}', '{"config": 3}', '{"config": {"data_dir": 3}}', '{"config": {}}',
    '{"config": {"data_dir": null, "recipe": 3}}'])
def test_a_damaged_config_is_one_line(tmp_path, text):
    (tmp_path / 'config.json').write_text(text)
    with pytest.raises(UserError, match='config.json is damaged'):
        runs.read_config(str(tmp_path))


def test_a_directory_that_is_no_run_is_named(tmp_path):
    with pytest.raises(UserError, match='is not a run directory .*: name one such as runs/tuto/1'):
        runs.read_config(str(tmp_path))


@pytest.mark.parametrize('name', ['config.json', 'train', 'train/model.ckpt-5', 'eval/test/'])
def test_a_part_of_a_run_is_answered_with_the_run(name, tmp_path):
    run = runs.create('', 'tuto', str(tmp_path / 'run'))
    (tmp_path / 'run/config.json').write_text('{}')
    with pytest.raises(UserError) as error:
        runs.read_config(os.path.join(run, name))
    assert str(error.value) == (
        f'{run}/{name} is not a run directory (no config.json): name {run}')


def test_another_dataset_is_noted_or_refused(synthetic, capsys):
    extra = {'classes': list(synthetic.classes), 'dataset_identity': synthetic.identity}
    assert runs.check_data('run', extra, synthetic, resuming=True)
    assert runs.check_data('run', {'classes': extra['classes']}, synthetic)  # identity unknown
    changed = dict(extra, dataset_identity='0' * 64)
    assert not runs.check_data('run', changed, synthetic)
    assert f'note: {synthetic.directory} has changed since run was started' in (
        capsys.readouterr().out)
    with pytest.raises(UserError, match='restore it, or start another run'):
        runs.check_data('run', changed, synthetic, resuming=True)
    with pytest.raises(UserError, match=r'run was trained on 6 classes \(a, b, c, d, e, ...\), but '
                       '.* has 10 classes'):
        runs.check_data('run', dict(extra, classes=list('abcdef')), synthetic)


def test_the_status_is_updated_field_by_field(tmp_path):
    run = str(tmp_path)
    assert runs.read_status(run) == {}
    runs.write_status(run, state='running', step=3)
    runs.write_status(run, step=4)
    status = runs.read_status(run)
    assert (status['state'], status['step']) == ('running', 4)
    assert len(status['updated']) == len('2020-01-01T00:00:00Z')
    (tmp_path / 'status.json').write_text('{')
    assert runs.read_status(run) == {}


def test_two_trainings_never_share_a_run(tmp_path):
    run = str(tmp_path)
    assert not runs.is_running(run)
    with runs.lock(run):
        assert runs.is_running(run)
        with pytest.raises(UserError, match='another process is training in'):
            with runs.lock(run):
                pass
    assert not runs.is_running(run)
    with runs.lock(run):
        pass


def test_a_training_on_another_host_counts_until_its_status_is_stale(tmp_path, monkeypatch):
    run = str(tmp_path)
    (tmp_path / 'lock').write_text('')
    runs.write_status(run, state='running', host=socket.gethostname())
    assert not runs.is_running(run)  # no lock on this host: it was killed
    runs.write_status(run, host='another')
    assert runs.is_running(run)
    updated = runs.time.time()
    monkeypatch.setattr(runs.time, 'time', lambda: updated + runs.STALE_SECS + 60)
    assert not runs.is_running(run)
    monkeypatch.setattr(runs.time, 'time', lambda: updated - runs.STALE_SECS - 60)  # clock set back
    assert not runs.is_running(run)
    monkeypatch.undo()
    runs.write_status(run, state='done')
    assert not runs.is_running(run)


def test_a_file_system_without_locks_leaves_it_to_the_status(tmp_path, monkeypatch):
    def refuse(*unused):
        raise OSError(errno.ENOLCK, 'No locks available')
    monkeypatch.setattr(runs.files.fcntl, 'flock', refuse)
    run = str(tmp_path)
    with runs.lock(run):
        runs.write_status(run, state='running', host=socket.gethostname())
        assert runs.is_running(run)
        runs.write_status(run, state='stopped')
        assert not runs.is_running(run)
