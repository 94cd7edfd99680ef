"""The tables of training in docs/speed.md show what was recorded."""

import os

import pytest

from permafrost import files
from permafrost.errors import UserError
from permafrost.experiments.tables import training
from tests.processes import ROOT


def figure(median, **fields):
    return dict(median=median, **fields)


def test_pipeline_targets_are_shown_with_each_engine(tmp_path):
    assert training.pipeline(str(tmp_path)) == ['Not recorded yet.']
    for engine, ratio, others in (
            ('tf1', .93, {}),
            ('tf2', 1.013, {'alone, memory': figure(
                118817.7, target=20000, bound='least', unit='images/s', met=True)})):
        figures = dict(others, **{
            'tuto ratio': figure(ratio, target=.95, bound='least', unit='', met=ratio >= .95),
            'tuto constant': figure(1500.)})  # has no target
        files.write_json(str(tmp_path / f'benchmark-pipeline-{engine}.json'),
                         {'engine': engine, 'figures': figures})
    assert training.pipeline(str(tmp_path)) == [
        '|  | target | `tf1` | `tf2` |', '| --- | --- | --- | --- |',
        '| alone, memory | at least 20,000 images/s | – | 118,818 |',
        '| tuto ratio | at least 0.95 | 0.930 (**not met**) | 1.01 |']


def test_training_is_shown_as_recorded(tmp_path):
    assert training.training(str(tmp_path)) == ['Not recorded yet.']
    rates = dict(zip(('tf1', 'tf1-mkl', 'tf2', 'pytorch', 'tf2-bfloat16',
                      'pytorch-compiled-bfloat16'), (100., 1234.4, 300.25, 200., 310., 220.)))
    figures = {f'tuto {kind}: {name}': figure(value)
               for kind in ('forward', 'backward', 'step') for name, value in rates.items()}
    for kind, ratio in (('forward', 6.1), ('backward', 6.2), ('step', 6.3)):
        figures[f'tuto {kind}: tf1-mkl by pytorch-compiled-bfloat16'] = figure(ratio)
    figures['nin2 step: tf2'] = figure(50.)  # not in PyTorch: in the file alone
    figures['sprint ablation: tf2-bfloat16'] = figure(400.)
    figures['sprint ablation: without this'] = figure(300.)
    figures['tuto step: tf1-mkl, of the peak'] = figure(.7, target=.8, bound='least', met=False)
    networks = {'tuto': {'images': 99, 'training_ops': 1e8},  # of an earlier recipe
                'nin2': {'training_ops': 7e8}}
    files.write_json(str(tmp_path / 'benchmark-training.json'),
                     {'networks': networks, 'figures': figures})
    assert training.training(str(tmp_path)) == [
        '| float32 | `tf1` | `tf1-mkl` | `tf2` | PyTorch | PyTorch, compiled |',
        '| --- | --- | --- | --- | --- | --- |',
        '| tuto forward | 100 | 1234 | 300 | 200 | – |',
        '| tuto backward | 100 | 1234 | 300 | 200 | – |',
        '| tuto step | 100 | 1234 | 300 | 200 | – |', '',
        '| bfloat16 | `tf2` | PyTorch | PyTorch, compiled |', '| --- | --- | --- | --- |',
        '| tuto forward | 310 | – | 220 |', '| tuto backward | 310 | – | 220 |',
        '| tuto step | 310 | – | 220 |', '',
        "|  | our fastest | PyTorch's fastest | ratio |", '| --- | --- | --- | --- |',
        '| tuto forward | tf1-mkl, float32 | PyTorch, compiled, bfloat16 | 6.10 |',
        '| tuto backward | tf1-mkl, float32 | PyTorch, compiled, bfloat16 | 6.20 |',
        '| tuto step | tf1-mkl, float32 | PyTorch, compiled, bfloat16 | 6.30 |', '',
        '- tuto step: tf1-mkl, share of the peak: 0.70 (target: at least 0.8; **not met**).', '',
        "| minutes | our fastest | PyTorch's fastest | share of the peak: float32 |",
        '| --- | --- | --- | --- |',
        '| nin2 | 427 (tf2, float32) | – | – |',  # 1.28 million images at 50 images/s
        '| tuto | 17.3 (tf1-mkl, float32) | 97.0 (PyTorch, compiled, bfloat16) | 0.700 |', '',
        'Recipes: nin2 1.28 million images, 0.9 PFLOP; tuto 1.28 million images, 0.13 PFLOP.']
    rows = ['| steps of sprint | images/s | ratio |', '| --- | --- | --- |']
    assert training.ablation(str(tmp_path)) == [
        *rows, '| without this | 300 | 0.75 |', '| tf2, bfloat16 | 400 | 1.00 |']
    (tmp_path / 'trials').mkdir()
    figures['sprint ablation: without this'] = figure(500.)
    files.write_json(str(tmp_path / 'trials' / 'benchmark-training-sprint.json'),
                     {'networks': networks, 'figures': figures})
    assert training.ablation(str(tmp_path)) == [
        *rows, '| tf2, bfloat16 | 400 | 1.00 |', '| without this | 500 | 1.25 |']


def test_steps_on_avx2_are_shown_with_their_ratios(tmp_path):
    assert training.training_avx2(str(tmp_path)) == ['Not recorded yet.']
    figures = {'tuto forward: pytorch': figure(9.), 'tuto step: tf2': figure(300.25),
               'tuto step: pytorch': figure(200.), 'tuto step: tf2 by pytorch': figure(1.5),
               'five networks, step: ours': figure(1.08)}
    (tmp_path / 'trials').mkdir()
    files.write_json(str(tmp_path / 'trials' / 'benchmark-training-avx2.json'),
                     {'networks': {'tuto': {'training_ops': 1e8}}, 'figures': figures})
    assert training.training_avx2(str(tmp_path))[2:] == [
        '| tuto step | – | – | 300 | 200 | – | 1.50 |', '', 'five networks, step: ours: 1.08.']


def test_sprint_is_shown_next_to_airbench94(tmp_path):
    (tmp_path / 'trials').mkdir()
    files.write_json(str(tmp_path / 'trials' / 'sprint-sprint-400.json'), {
        'train_seconds': 330., 'accuracy': {'values': [.93, .9312]},
        'accuracy_tta': {'values': [.94, .9412]}})
    assert training.record(str(tmp_path)) == ['Not recorded yet.']
    for seed, seconds in ((1, 390.), (2, 393.)):
        files.write_json(str(tmp_path / 'trials' / f'record-{seed}.json'), {
            'train_seconds': seconds, 'accuracy': .93, 'accuracy_tta': .94})
    assert training.record(str(tmp_path)) == [
        '|  | minutes, slowest seed | accuracy (%) | with TTA (%) |', '| --- | --- | --- | --- |',
        '| sprint, tf2 | 5.50 | 93.00, 93.12 | 94.00, 94.12 |',
        '| airbench94, PyTorch | 6.55 | 93.00, 93.00 | 94.00, 94.00 |']


@pytest.mark.parametrize('table, name, value, message', [
    ('pipeline', 'pipeline-tf2', {'figures': {}}, r'engine is missing'),
    ('pipeline', 'pipeline-tf2', {'engine': 'a|b', 'figures': {}}, 'engine must be a plain name'),
    ('training', 'training', [], 'it must be an object'),
    ('training', 'training', {'networks': {}, 'figures': {'a': {'median': 'fast'}}},
     "figures.a.median must be a number, not 'fast'"),
    ('training', 'training', {'networks': {}, 'figures': {'a': {}}}, 'figures.a.median is miss')])
def test_a_file_of_wrong_types_is_refused_in_one_line(tmp_path, table, name, value, message):
    files.write_json(str(tmp_path / f'benchmark-{name}.json'), value)
    with pytest.raises(UserError, match=f'{name}.json is damaged .*{message}'):
        training.TABLES[table](str(tmp_path))


def test_names_from_a_file_stay_text(tmp_path):
    unmet = figure(1., target=2., bound='least', met=False, unit='<b>')
    files.write_json(str(tmp_path / 'benchmark-pipeline-tf2.json'),
                     {'engine': 'tf2', 'figures': {'a | <!-- end of pipeline -->': unmet}})
    row = training.pipeline(str(tmp_path))[2]
    assert row.startswith('| a &#124; &#60;!-- end of pipeline --&#62; | at least 2 &#60;b&#62; |')


def test_recorded_training_meets_its_targets():
    figures = files.read_json(
        os.path.join(ROOT, 'results', 'benchmark-training.json'))['figures']
    targets = {name: figure['target'] for name, figure in figures.items() if 'met' in figure}
    assert set(targets.values()) == {1.15, 0.8}
    assert [name for name in targets if not figures[name]['met']] == []
