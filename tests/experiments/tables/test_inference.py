"""The tables of inference show what was recorded."""

from permafrost import files
from permafrost.experiments.tables import inference
from tests.experiments.tables.test_training import figure


def test_inference_has_a_table_for_each_graph(tmp_path):
    assert inference.inference(str(tmp_path)) == ['Not recorded yet.']
    times = dict(zip(inference.RUNTIMES, (2., 1.5, .5, .4, 1., 3.)))
    figures = {'tuto litert different': figure(0.)}
    for model in ('tuto', 'nin2'):
        for batch, threads in ((32, '2 threads'), (1, '1 thread')):
            for name, value in times.items():
                figures[f'{model}, batch {batch}, {threads}: {name}'] = figure(value * batch)
        figures[f'{model}, batch 32, 2 threads: tf2 by onnxruntime'] = figure(1.25)
        figures[f'{model}, batch 1, 1 threads: tf2 by onnxruntime'] = figure(1.25, met=False)
    files.write_json(str(tmp_path / 'benchmark-inference.json'),
                     {'graphs': {'tuto': '', 'nin2': ''}, 'figures': figures})
    lines = inference.inference(str(tmp_path))
    assert lines[10:] == [
        '| tuto | 1 image | 32 images, 2 threads |', '| --- | --- | --- |',
        '| `tf1` | 2.00 | 64.0 |', '| `tf1-mkl` | 1.50 | 48.0 |', '| `tf2` | 0.500 | 16.0 |',
        '| ONNX Runtime | **0.400** | **12.8** |', '| LiteRT | 1.00 | 32.0 |',
        '| OpenVINO | 3.00 | 96.0 |',
        '| best engine / ONNX Runtime | 1.25 (**not met**) | 1.25 |']
    assert lines[9] == '' and lines[0] == '| nin2 | 1 image | 32 images, 2 threads |'


def test_exported_files_have_a_table_for_each_model(tmp_path):
    assert inference.deploy(str(tmp_path)) == ['Not recorded yet.']
    rows = [{'file': name, 'runtime': runtime, 'bytes': size, 'correct': correct, 'images': 10000,
             'ms': {'1 1': ms, '1 2': ms / 2, '32 1': 20 * ms, '32 2': 10 * ms}}
            for name, runtime, size, correct, ms in (
                ('a.pb', 'TensorFlow 2', 594819, 8876, .2),
                ('a.pb', 'TensorFlow 2, bfloat16', 594819, 8876, .1),
                ('a.int8.tflite', '<b>', 185265, 8871, .05))]
    del rows[0]['ms']['32 2']
    files.write_json(str(tmp_path / 'benchmark-deploy.json'), {
        'models': {'a': rows}, 'machine': {'cores': 2, 'cpu': 'a <CPU>'}})
    assert inference.deploy(str(tmp_path)) == [
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
    assert not any('int8' in line for line in inference.deploy(str(tmp_path)))


def test_micro_has_a_row_for_each_model(tmp_path):
    assert inference.micro(str(tmp_path)) == ['Not recorded yet.']
    (tmp_path / 'tflm').mkdir()
    for name, arena_bytes in ('b', 59248), ('a|', 123904):
        files.write_json(str(tmp_path / 'tflm' / f'{name[0]}.tflm.json'), {
            'model': name, 'bytes': 182672, 'arena_bytes': arena_bytes, 'correct': 8872,
            'images': 10000, 'agreement': .9934, 'ops_to_register': ['AddConv2D', 'AddMean']})
    assert inference.micro(str(tmp_path))[2:] == [
        '| a&#124; | 183 | 123.9 | 88.72 % | 99.34 % | 2 |',
        '| b | 183 | 59.2 | 88.72 % | 99.34 % | 2 |']
