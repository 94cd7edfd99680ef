"""results/*.json: what is recorded of a run, and what is refused."""

import os
import time
from concurrent import futures

import numpy as np
import pytest

from permafrost import files, runs
from permafrost.cluster import cluster_spec
from permafrost.datasets import registry
from permafrost.errors import UserError
from permafrost.evaluation import evaluate
from permafrost.experiments import model_info, results
from permafrost.experiments.comparison import entries
from permafrost.experiments.comparison.selection import Selected
from permafrost.experiments.tables import accuracy
from permafrost.export import freeze
from tests import networks

FIELDS = {'model', 'recipe', 'dataset', 'steps', 'epochs', 'batch_size', 'seeds', 'accuracy',
          'weights', 'engine', 'versions', 'train_seconds', 'images_per_second', 'command', 'date',
          'params', 'ops', 'trainings'}
METRICS = {'split': 'test', 'step': 4, 'accuracy': 0.5, 'weights': 'averaged', 'images': 500,
           'date': '2026-01-01T00:00:00Z'}
NAME = '/tiny-tutorial-synthetic-batch_size=32,learning_rate=0.05-4.json'
TTA = dict(METRICS, tta='flip_shift', accuracy_tta=0.6)


@pytest.fixture(scope='module')
def trained_run(synthetic, tmp_path_factory):
    directory = str(tmp_path_factory.mktemp('results') / 'run')
    networks.train(synthetic, directory, 4, 'tiny')
    return directory


@pytest.fixture
def run(trained_run):
    """A finished run of `tiny`, which is registered as a model during the test."""
    with networks.registered():
        yield trained_run


def _copy(run, directory, change):
    """Copy the config.json, changed by `change(value)`, and status.json of `run`."""
    value = files.read_json(os.path.join(run, 'config.json'))
    change(value)
    directory.mkdir()
    files.write_json(str(directory / 'config.json'), value)
    files.write_json(str(directory / 'status.json'), runs.read_status(run))
    return str(directory)


def test_a_result_has_the_accuracy_and_the_size_of_the_model(run, tmp_path):
    path = results.record(str(tmp_path), run, TTA)
    result, = results.load(str(tmp_path))
    assert FIELDS <= set(result) and path.endswith(NAME)
    assert result['tta'] == 'flip_shift' and result['seeds'] == [1]
    assert result['accuracy'] == {'mean': 0.5, 'std': 0., 'values': [0.5]}
    assert result['accuracy_tta']['mean'] == 0.6
    size = model_info.measure_model('tiny', 24)
    assert (result['params'], result['ops']) == (size['params'], size['ops'])


def test_a_network_with_fewer_filters_has_the_size_of_its_graph(run, synthetic, tmp_path):
    pruned = str(tmp_path / 'pruned')
    networks.train(synthetic, pruned, 4, 'tiny', changes=[
        'structured_sparsity=0.5', 'prune_epochs=0.001', 'spared_layers=none'])
    with pytest.raises(UserError, match='freezing counts them: first run .*freeze'):
        results.record(str(tmp_path / 'results'), pruned, METRICS)
    frozen = freeze.freeze(pruned, None)
    result = results.read(results.record(str(tmp_path / 'results'), pruned, METRICS))
    assert (result['params'], result['ops']) == (frozen['params'], frozen['ops'])
    assert result['params'] < model_info.measure_model('tiny', 24)['params']


def test_an_accuracy_without_tta_drops_the_one_with(run, tmp_path, capsys):
    results.record(str(tmp_path), run, TTA)
    results.record(str(tmp_path), run, METRICS)
    result, = results.load(str(tmp_path))
    assert 'accuracy_tta' not in result and 'tta' not in result
    assert 'had an accuracy with --tta flip_shift: evaluate this run with it' in (
        capsys.readouterr().out)


def test_the_only_seed_may_change_its_tta(run, tmp_path):
    results.record(str(tmp_path / 'results'), run, TTA)
    other_tta = dict(METRICS, tta='flip', accuracy_tta=0.7)
    result = results.read(results.record(str(tmp_path / 'results'), run, other_tta))
    assert result['tta'] == 'flip' and result['accuracy_tta']['values'] == [0.7]
    other = _copy(run, tmp_path / 'run', lambda value: value['config'].update(seed=7))
    result = results.read(results.record(str(tmp_path / 'results'), other, TTA))
    assert result['tta'] == 'flip_shift' and result['seeds'] == [1, 7]
    assert result['accuracy_tta']['seeds'] == [7] and not results.has_tta(result)


def test_a_seed_without_tta_leaves_that_of_the_others(run, tmp_path, capsys):
    folder = str(tmp_path / 'results')
    other = _copy(run, tmp_path / 'run', lambda value: value['config'].update(seed=7))
    results.record(folder, run, TTA)
    path = results.record(folder, other, dict(TTA, accuracy_tta=0.8))
    assert results.read(path)['accuracy_tta']['values'] == [0.6, 0.8]
    assert not capsys.readouterr().out
    results.record(folder, other, METRICS)
    result, = results.load(folder)
    assert result['accuracy_tta'] == {'mean': 0.6, 'std': 0., 'values': [0.6], 'seeds': [1]}
    assert f'{path} has an accuracy with --tta flip_shift only for seed 1' in (
        capsys.readouterr().out)
    assert not any('60.00' in line for line in accuracy.table([result]))
    results.record(folder, other, dict(TTA, accuracy_tta=0.8))
    result, = results.load(folder)
    assert result['accuracy_tta']['values'] == [0.6, 0.8] and results.has_tta(result)
    assert any('/ 70.00' in line for line in accuracy.table([result]))


def test_a_result_without_versions_is_extended(run, tmp_path):
    path = results.record(str(tmp_path / 'results'), run, METRICS)
    result = files.read_json(path)
    del result['versions']
    files.write_json(path, result)
    assert results.gpu(results.read(path)) == ''
    assert any('tiny' in line for line in accuracy.table([results.read(path)]))
    other = _copy(run, tmp_path / 'run', lambda value: value['config'].update(seed=7))
    results.record(str(tmp_path / 'results'), other, METRICS)
    assert results.read(path)['versions'] == runs.read_config(run)[1]['versions']


def test_seeds_share_a_file(run, tmp_path):
    path = results.record(str(tmp_path / 'results'), run, METRICS)
    other = _copy(run, tmp_path / 'run', lambda value: value['config'].update(seed=7))
    assert results.record(str(tmp_path / 'results'), other, dict(METRICS, accuracy=0.25)) == path
    result = files.read_json(path)
    assert result['seeds'] == [1, 7] and result['accuracy']['values'] == [0.5, 0.25]
    np.testing.assert_allclose(result['accuracy']['mean'], 0.375)
    np.testing.assert_allclose(result['accuracy']['std'], np.std([0.5, 0.25], ddof=1))


def test_a_result_of_other_data_or_of_an_unfinished_run_is_refused(run, tmp_path):
    path = results.record(str(tmp_path), run, METRICS)
    with open(path) as stream:
        before = stream.read()
    changed = _copy(run, tmp_path / 'changed', lambda value: value.update(
        dataset_identity='0' * 64))
    for directory, changes, message in (
            (changed, {}, 'dataset_identity is'),
            (run, {'split': 'train'}, '--results records test accuracy: leave out --split'),
            (run, {'step': 3}, 'must be of the last step, not of step 3: leave out --step')):
        with pytest.raises(UserError, match=message):
            results.record(str(tmp_path), directory, dict(METRICS, **changes))
    with open(path) as stream:
        assert stream.read() == before


def test_variants_lie_side_by_side(run, tmp_path):
    def variant(name, **recipe):
        return _copy(run, tmp_path / name, lambda value: value['config']['recipe'].update(recipe))
    folder = str(tmp_path / 'results')
    plain = variant('plain', batch_size=128, learning_rate=0.1)
    paths = [results.record(folder, directory, dict(METRICS, **changes)) for directory, changes in (
        (run, {}), (plain, {}), (variant('flip', augmentation=['flip']), {}),
        (variant('rate', batch_size=128, learning_rate=0.05), {}), (run, {'weights': 'raw'}))]
    begin, own = 'tiny-tutorial-synthetic', 'batch_size=32,learning_rate=0.05'
    assert [os.path.relpath(path, folder) for path in paths] == [
        f'{begin}-{own}-4.json', f'{begin}-4.json',
        f'{begin}-augmentation=flip,{own}-4.json', f'{begin}-learning_rate=0.05-4.json',
        f'{begin}-{own},weights=raw-4.json']
    assert len(results.load(folder)) == len(paths)


@pytest.mark.parametrize('dataset', [
    '../../x', '/etc/passwd', '..', 'a/b', 'x' * 5000, '\U0001f40d' * 300, 'a\nb', '\x1b[31m',
    'latin \udce9', '-', '.'])
def test_no_name_leaves_the_folder(run, tmp_path, monkeypatch, dataset):
    monkeypatch.setattr(registry, 'display_name', lambda *unused: dataset)
    written = []
    monkeypatch.setattr(files, 'write_json', lambda path, value: written.append(path))
    results.record(str(tmp_path / 'results'), run, METRICS)
    folder, name = os.path.split(written[0])
    assert folder == str(tmp_path / 'results') and name.startswith('tiny-tutorial-')
    assert name.isprintable() and len(name.encode()) < 200 and name.endswith('-4.json')
    monkeypatch.setattr(registry, 'display_name', lambda *unused: dataset + '~')
    results.record(str(tmp_path / 'results'), run, METRICS)
    assert written[0] != written[1]


def test_a_recipe_with_a_path_for_a_name_is_refused(run, tmp_path):
    other = _copy(run, tmp_path / 'other', lambda value: value['config']['recipe'].update(
        name='../../x'))
    with pytest.raises(UserError, match=r"\(config.recipe.name must be a plain name, not '../.."):
        results.record(str(tmp_path / 'results'), other, METRICS)


def test_a_result_with_earlier_names_of_settings_is_compared(run, tmp_path):
    path = results.record(str(tmp_path), run, METRICS)
    result = files.read_json(path)
    settings = result['settings']
    settings['standardize'] = settings.pop('normalize')
    settings['average_decay'] = settings.pop('ema_decay')
    settings['decay_mode'], settings['weight_decay'] = 'layers', settings.pop('layer_weight_decay')
    del settings['decoupled_weight_decay']
    files.write_json(path, result)
    assert results.record(str(tmp_path), run, METRICS) == path


def test_runs_that_stopped_early_share_a_file(run, tmp_path):
    """Each seed ends at another step, and is finished there."""
    def early(seed, state, step):
        other = _copy(run, tmp_path / f'{seed}{state}{step}', lambda value: value['config'].update(
            seed=seed, steps=100, patience=3, validation=100))
        runs.write_status(other, state=state, step=step)
        return other

    folder = str(tmp_path / 'results')
    path = results.record(folder, early(1, 'done', 4), METRICS)
    assert path.endswith('learning_rate=0.05,patience=3,validation=100-100.json')
    assert results.record(folder, early(2, 'done', 7), dict(METRICS, step=7)) == path
    result = results.read(path)
    assert result['seeds'] == [1, 2] and result['steps'] == 7
    for other, step, message in (
            (early(3, 'stopped', 4), 4, 'is at step 4 of 100: finish its training first'),
            (early(3, 'done', 7), 4, 'must be of the last step, not of step 4')):
        with pytest.raises(UserError, match=message):
            results.record(folder, other, dict(METRICS, step=step))


def test_two_seeds_that_end_together_are_both_recorded(run, tmp_path, monkeypatch):
    other = _copy(run, tmp_path / 'other', lambda value: value['config'].update(seed=2))
    folder, read = str(tmp_path / 'results'), results.read
    path = results.record(folder, run, METRICS)
    with futures.ThreadPoolExecutor() as pool:
        def read_slowly(path):
            """Read the file, and let another process try to write it before this one does."""
            monkeypatch.setattr(results, 'read', read)
            content = read(path)
            recorded.append(pool.submit(results.record, folder, third, METRICS))
            time.sleep(1)
            return content

        third, recorded = _copy(run, tmp_path / 'third', lambda value: value['config'].update(
            seed=3)), []
        monkeypatch.setattr(results, 'read', read_slowly)
        results.record(folder, other, METRICS)
        recorded[0].result()
    assert read(path)['seeds'] == [1, 2, 3]


VALUES = {'validation': 100, 'source': 'stream', 'cluster': 'sync 2 workers'}


@pytest.mark.parametrize('field', results.OTHER_SETTINGS)
def test_other_weights_or_images_to_begin_with_are_a_result_of_their_own(
        field, run, tmp_path):
    value = VALUES.get(field, 'a/b')
    change = {} if field == 'cluster' else {field: value}
    other = _copy(run, tmp_path / 'other', lambda json: json['config'].update(change))
    if field == 'cluster':
        cluster_spec.save_cluster_json(
            other, cluster_spec.ClusterSpec(('a:1',), ('b:1', 'c:1')), 'sync', 0, 1)
    plain, path = (results.record(str(tmp_path / 'results'), each, METRICS)
                   for each in (run, other))
    assert plain != path and os.path.dirname(path) == str(tmp_path / 'results')
    assert results.read(path)[field] == value and field not in results.read(plain)
    shown = f' {value})' if field == 'earlier_compute_dtype' else f'{field}={value}'
    assert any(shown in line for line in accuracy.table([results.read(path)]))
    entry, = entries.read_result(Selected(path, is_result=True))
    assert entry.settings[field] == str(value) and field in entry.changed


def test_raw_weights_are_named_in_the_table(run, tmp_path):
    path = results.record(str(tmp_path), run, dict(METRICS, weights='raw'))
    assert any(', weights=raw)' in line for line in accuracy.table([results.read(path)]))


def test_seeds_of_another_engine_are_refused(run, tmp_path):
    folder = str(tmp_path / 'results')
    path = results.record(folder, run, METRICS)
    other = _copy(run, tmp_path / 'other', lambda value: (
        value['config'].update(seed=2), value['versions'][-1].update(engine='other')))
    with pytest.raises(UserError, match='engine is .*, not other'):
        results.record(folder, other, METRICS)
    assert results.read(path)['seeds'] == [1]


def test_the_time_of_a_seed_is_replaced_with_it(run, tmp_path):
    """Of several seeds, the time is that of the slowest."""
    folder, seconds = str(tmp_path / 'results'), []
    for seed, each in ((1, 6000.), (1, 1000.), (2, 3000.), (3, 2000.), (2, 500.)):
        other = _copy(run, tmp_path / f'{each}', lambda value, seed=seed: value['config'].update(
            seed=seed))
        files.write_json(os.path.join(other, 'status.json'),
                         dict(runs.read_status(run), train_seconds=each))
        seconds.append(results.read(results.record(folder, other, METRICS))['train_seconds'])
    assert seconds == [6000., 1000., 3000., 3000., 2000.]


def test_seeds_of_an_early_result_keep_its_time_and_versions(run, tmp_path):
    """It has one time for all of them."""
    folder = str(tmp_path / 'results')
    path = results.record(folder, run, METRICS)
    early = {name: value for name, value in files.read_json(path).items() if name != 'trainings'}
    files.write_json(path, dict(early, train_seconds=9000., versions=[{'engine': 'old'}]))
    other = _copy(run, tmp_path / 'other', lambda value: value['config'].update(seed=2))
    result = results.read(results.record(folder, other, METRICS))
    assert result['train_seconds'] == 9000. and result['versions'][0] == {'engine': 'old'}
    assert [each['seed'] for each in result['trainings']] == [1, 2]


def test_a_changed_dataset_is_refused_before_evaluation(run, synthetic, tmp_path):
    changed = _copy(run, tmp_path / 'changed', lambda value: value.update(
        dataset_identity='0' * 64))
    with pytest.raises(UserError, match='restore it, or leave out --results'):
        evaluate.evaluate_run(changed, None, require_same_data=True, data_dir=synthetic.directory)


def test_a_recorded_command_names_no_places(run, tmp_path):
    command = ('python /home/me/checkout/train.py --model sprint --log_dir=/tmp/x '
               '--run "/tmp/a b/1" --resume --seed 2 --set epochs=8 --log_steps 25')
    other = _copy(run, tmp_path / 'run', lambda value: value.update(command=command))
    path = results.record(str(tmp_path / 'results'), other, METRICS)
    assert files.read_json(path)['command'] == (
        'python train.py --model sprint --seed 2 --set epochs=8')
    other = _copy(run, tmp_path / 'edited', lambda value: value.update(command='python "train.py'))
    assert files.read_json(results.record(str(tmp_path / 'results'), other, METRICS))[
        'command'] == 'python "train.py'


def test_other_files_in_the_folder_are_left_alone(run, tmp_path):
    results.record(str(tmp_path), run, METRICS)
    (tmp_path / 'notes.json').write_text('{"a": 1}')
    assert len(results.load(str(tmp_path))) == 1


@pytest.mark.parametrize('field, wrong, message', [
    ('model', 'a|b', 'model must be a plain name'), ('recipe', 3, 'recipe must be a plain name'),
    ('engine', '<b>', 'engine must be a plain name'), ('steps', '4', 'steps must be a whole'),
    ('accuracy', {'mean': 0.5, 'std': 0., 'values': [0.5, 0.5]}, 'one for each of the seeds'),
    ('accuracy', {'mean': float('nan'), 'std': 0., 'values': [0.5]}, 'accuracy.mean must be'),
    ('tta', 'flip', 'accuracy_tta and tta go together'), ('settings', {}, 'settings.name is miss'),
    ('settings', None, 'settings must be an object')])
def test_a_result_of_wrong_types_is_refused_in_one_line(run, tmp_path, field, wrong, message):
    path = results.record(str(tmp_path), run, METRICS)
    files.write_json(path, dict(files.read_json(path), **{field: wrong}))
    with pytest.raises(UserError, match=f'json is damaged .*{message}') as error:
        results.load(str(tmp_path))
    assert '\n' not in str(error.value)


@pytest.mark.parametrize('content', ['{"accuracy": ', '[1]', 'null'])
def test_a_damaged_result_is_refused_and_kept(run, tmp_path, content):
    path = results.record(str(tmp_path), run, METRICS)
    with open(path, 'w') as stream:
        stream.write(content)
    for use in (lambda: results.load(str(tmp_path)),
                lambda: results.record(str(tmp_path), run, METRICS)):
        with pytest.raises(UserError, match='is damaged .*: restore it, or remove it'):
            use()
    assert open(path).read() == content
