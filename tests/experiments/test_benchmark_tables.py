"""The tables of docs/speed.md show what was recorded."""

import os

import pytest

from permafrost import files
from permafrost.errors import UserError
from permafrost.experiments import benchmark_tables
from tests.processes import ROOT


def _figure(median, **fields):
    return dict(median=median, **fields)


def test_pipeline_targets_are_shown_with_each_engine(tmp_path):
    assert benchmark_tables.pipeline(str(tmp_path)) == ['Not recorded yet.']
    for engine, ratio, others in (
            ('tf1', .93, {}),
            ('tf2', 1.013, {'alone, memory': _figure(
                118817.7, target=20000, bound='least', unit='images/s', met=True)})):
        figures = dict(others, **{
            'tuto ratio': _figure(ratio, target=.95, bound='least', unit='', met=ratio >= .95),
            'tuto constant': _figure(1500.)})  # has no target
        files.write_json(str(tmp_path / f'benchmark-pipeline-{engine}.json'),
                         {'engine': engine, 'figures': figures})
    assert benchmark_tables.pipeline(str(tmp_path)) == [
        '|  | target | `tf1` | `tf2` |', '| --- | --- | --- | --- |',
        '| alone, memory | at least 20,000 images/s | – | 118,818 |',
        '| tuto ratio | at least 0.95 | 0.930 (**not met**) | 1.01 |']


def test_exported_files_have_a_table_for_each_model(tmp_path):
    assert benchmark_tables.deploy(str(tmp_path)) == ['Not recorded yet.']
    rows = [{'file': name, 'runtime': runtime, 'bytes': size, 'correct': correct, 'images': 10000,
             'ms': {'1 1': ms, '1 2': ms / 2, '32 1': 20 * ms, '32 2': 10 * ms}}
            for name, runtime, size, correct, ms in (
                ('a.pb', 'TensorFlow 2', 594819, 8876, .2),
                ('a.pb', 'TensorFlow 2, bfloat16', 594819, 8876, .1),
                ('a.int8.tflite', '<b>', 185265, 8871, .05))]
    del rows[0]['ms']['32 2']
    files.write_json(str(tmp_path / 'benchmark-deploy.json'), {
        'models': {'a': rows}, 'machine': {'cores': 2, 'cpu': 'a <CPU>'}})
    assert benchmark_tables.deploy(str(tmp_path)) == [
        'Measured on 2 cores of a &#60;CPU&#62;.', '',
        '| 1 image, 1 thread | fastest in float32, ms | fastest in int8, ms | latency ratio '
        '| size ratio | accuracy, points |',
        '| --- | --- | --- | --- | --- | --- |',
        '| a | 0.200, TensorFlow 2 | 0.0500, &#60;b&#62; | 0.25 | 0.31 | -0.05 |', '',
        '| a | runtime | accuracy | kB | ms, 1 image | images/s, batch 32 |',
        '| --- | --- | --- | --- | --- | --- |',
        '| a.pb | TensorFlow 2 | 88.76 % | 595 | 0.200 / 0.100 | 8,000 / – |',
        '| a.pb | TensorFlow 2, bfloat16 | 88.76 % | 595 | 0.100 / 0.0500 | 16,000 / 32,000 |',
        '| a.int8.tflite | &#60;b&#62; | 88.71 % | 185 | **0.0500** / **0.0250** | '
        '**32,000** / **64,000** |']


def test_a_model_without_an_int8_file_has_no_row_in_the_summary(tmp_path):
    row = {'file': 'a.pb', 'runtime': 'TensorFlow 2', 'bytes': 1, 'correct': 1, 'images': 2,
           'ms': {'1 1': 1.}}
    files.write_json(str(tmp_path / 'benchmark-deploy.json'),
                     {'models': {'a': [row]}, 'machine': {}})
    assert not any('int8' in line for line in benchmark_tables.deploy(str(tmp_path)))


def test_micro_has_a_row_for_each_model(tmp_path):
    assert benchmark_tables.micro(str(tmp_path)) == ['Not recorded yet.']
    (tmp_path / 'tflm').mkdir()
    for name, arena_bytes in ('b', 59248), ('a|', 123904):
        files.write_json(str(tmp_path / 'tflm' / f'{name[0]}.tflm.json'), {
            'model': name, 'bytes': 182672, 'arena_bytes': arena_bytes, 'correct': 8872,
            'images': 10000, 'agreement': .9934, 'ops_to_register': ['AddConv2D', 'AddMean']})
    assert benchmark_tables.micro(str(tmp_path))[2:] == [
        '| a&#124; | 183 | 123.9 | 88.72 % | 99.34 % | 2 |',
        '| b | 183 | 59.2 | 88.72 % | 99.34 % | 2 |']


def test_numbers_have_three_digits_or_are_whole():
    assert [benchmark_tables._short(value) for value in (None, .1234, 99.94, 99.97, 1234.5)] == [
        '–', '0.123', '99.9', '100', '1234']


def test_inference_has_a_table_for_each_graph(tmp_path):
    assert benchmark_tables.inference(str(tmp_path)) == ['Not recorded yet.']
    times = dict(zip(benchmark_tables.RUNTIMES, (2., 1.5, .5, .4, 1., 3.)))
    figures = {'tuto litert different': _figure(0.)}
    for model in ('tuto', 'nin2'):
        for batch, threads in ((32, '2 threads'), (1, '1 thread')):
            for name, value in times.items():
                figures[f'{model}, batch {batch}, {threads}: {name}'] = _figure(value * batch)
        figures[f'{model}, batch 32, 2 threads: tf2 by onnxruntime'] = _figure(1.25)
        figures[f'{model}, batch 1, 1 threads: tf2 by onnxruntime'] = _figure(1.25, met=False)
    files.write_json(str(tmp_path / 'benchmark-inference.json'),
                     {'graphs': {'tuto': '', 'nin2': ''}, 'figures': figures})
    lines = benchmark_tables.inference(str(tmp_path))
    assert lines[10:] == [
        '| tuto | 1 image | 32 images, 2 threads |', '| --- | --- | --- |',
        '| `tf1` | 2.00 | 64.0 |', '| `tf1-mkl` | 1.50 | 48.0 |', '| `tf2` | 0.500 | 16.0 |',
        '| ONNX Runtime | **0.400** | **12.8** |', '| LiteRT | 1.00 | 32.0 |',
        '| OpenVINO | 3.00 | 96.0 |',
        '| best engine / ONNX Runtime | 1.25 (**not met**) | 1.25 |']
    assert lines[9] == '' and lines[0] == '| nin2 | 1 image | 32 images, 2 threads |'


def test_training_is_shown_as_recorded(tmp_path):
    assert benchmark_tables.training(str(tmp_path)) == ['Not recorded yet.']
    rates = dict(zip(('tf1', 'tf1-mkl', 'tf2', 'pytorch', 'tf2-bfloat16',
                      'pytorch-compiled-bfloat16'), (100., 1234.4, 300.25, 200., 310., 220.)))
    figures = {f'tuto {kind}: {name}': _figure(value)
               for kind in ('forward', 'backward', 'step') for name, value in rates.items()}
    for kind, ratio in (('forward', 6.1), ('backward', 6.2), ('step', 6.3)):
        figures[f'tuto {kind}: tf1-mkl by pytorch-compiled-bfloat16'] = _figure(ratio)
    figures['nin2 step: tf2'] = _figure(50.)  # not in PyTorch: in the file alone
    figures['sprint ablation: tf2-bfloat16'] = _figure(400.)
    figures['sprint ablation: without this'] = _figure(300.)
    figures['tuto step: tf1-mkl, of the peak'] = _figure(.7, target=.8, bound='least', met=False)
    networks = {'tuto': {'images': 99, 'training_ops': 1e8},  # of an earlier recipe
                'nin2': {'training_ops': 7e8}}
    files.write_json(str(tmp_path / 'benchmark-training.json'),
                     {'networks': networks, 'figures': figures})
    assert benchmark_tables.training(str(tmp_path)) == [
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
    assert benchmark_tables.ablation(str(tmp_path)) == [
        *rows, '| without this | 300 | 0.75 |', '| tf2, bfloat16 | 400 | 1.00 |']
    (tmp_path / 'trials').mkdir()
    figures['sprint ablation: without this'] = _figure(500.)
    files.write_json(str(tmp_path / 'trials' / 'benchmark-training-sprint.json'),
                     {'networks': networks, 'figures': figures})
    assert benchmark_tables.ablation(str(tmp_path)) == [
        *rows, '| tf2, bfloat16 | 400 | 1.00 |', '| without this | 500 | 1.25 |']


def test_steps_on_avx2_are_shown_with_their_ratios(tmp_path):
    assert benchmark_tables.training_avx2(str(tmp_path)) == ['Not recorded yet.']
    figures = {'tuto forward: pytorch': _figure(9.), 'tuto step: tf2': _figure(300.25),
               'tuto step: pytorch': _figure(200.), 'tuto step: tf2 by pytorch': _figure(1.5),
               'five networks, step: ours': _figure(1.08)}
    (tmp_path / 'trials').mkdir()
    files.write_json(str(tmp_path / 'trials' / 'benchmark-training-avx2.json'),
                     {'networks': {'tuto': {'training_ops': 1e8}}, 'figures': figures})
    assert benchmark_tables.training_avx2(str(tmp_path))[2:] == [
        '| tuto step | – | – | 300 | 200 | – | 1.50 |', '', 'five networks, step: ours: 1.08.']


def test_sprint_is_shown_next_to_the_record(tmp_path):
    (tmp_path / 'trials').mkdir()
    files.write_json(str(tmp_path / 'trials' / 'sprint-sprint-400.json'), {
        'train_seconds': 330., 'accuracy': {'values': [.93, .9312]},
        'accuracy_tta': {'values': [.94, .9412]}})
    assert benchmark_tables.record(str(tmp_path)) == ['Not recorded yet.']
    for seed, seconds in ((1, 390.), (2, 393.)):
        files.write_json(str(tmp_path / 'trials' / f'record-{seed}.json'), {
            'train_seconds': seconds, 'accuracy': .93, 'accuracy_tta': .94})
    assert benchmark_tables.record(str(tmp_path)) == [
        '|  | minutes, slowest seed | accuracy (%) | with TTA (%) |', '| --- | --- | --- | --- |',
        '| sprint, tf2 | 5.50 | 93.00, 93.12 | 94.00, 94.12 |',
        '| the record, PyTorch | 6.55 | 93.00, 93.00 | 94.00, 94.00 |']


@pytest.mark.parametrize('table, name, value, message', [
    ('pipeline', 'pipeline-tf2', {'figures': {}}, r'engine is missing'),
    ('pipeline', 'pipeline-tf2', {'engine': 'a|b', 'figures': {}}, 'engine must be a plain name'),
    ('training', 'training', [], 'it must be an object'),
    ('training', 'training', {'networks': {}, 'figures': {'a': {'median': 'fast'}}},
     "figures.a.median must be a number, not 'fast'"),
    ('inference', 'inference', {'graphs': {}, 'figures': {'a': {}}}, 'figures.a.median is miss')])
def test_a_file_of_wrong_types_is_refused_in_one_line(tmp_path, table, name, value, message):
    files.write_json(str(tmp_path / f'benchmark-{name}.json'), value)
    with pytest.raises(UserError, match=f'{name}.json is damaged .*{message}'):
        benchmark_tables.TABLES[table](str(tmp_path))


def test_names_from_a_file_stay_text(tmp_path):
    figure = _figure(1., target=2., bound='least', met=False, unit='<b>')
    files.write_json(str(tmp_path / 'benchmark-pipeline-tf2.json'),
                     {'engine': 'tf2', 'figures': {'a | <!-- end of pipeline -->': figure}})
    row = benchmark_tables.pipeline(str(tmp_path))[2]
    assert row.startswith('| a &#124; &#60;!-- end of pipeline --&#62; | at least 2 &#60;b&#62; |')


def test_recorded_training_meets_its_targets():
    figures = files.read_json(
        os.path.join(ROOT, 'results', 'benchmark-training.json'))['figures']
    targets = {name: figure['target'] for name, figure in figures.items() if 'met' in figure}
    assert set(targets.values()) == {1.15, 0.8}
    assert [name for name in targets if not figures[name]['met']] == []
