"""label_image --compare: several models in turn, in one table."""

import glob
import json
import os
import signal
import subprocess

import pytest
import tensorflow.compat.v1 as tf

from tests.label_image.program import OWN, PROGRAM, execute, write_graph
from tests.label_image.test_runtimes import library, model


@pytest.fixture(scope='module')
def batch(tmp_path_factory):
    """Four images of one colour, the last with a wrong label."""
    path = tmp_path_factory.mktemp('batch') / 'batch.bin'
    pixels = [bytes([255 if plane == label else 0]) * 1024
              for label in (0, 1, 2, 2) for plane in range(3)]
    path.write_bytes(b''.join(bytes([label]) + b''.join(pixels[3 * i:3 * i + 3])
                              for i, label in enumerate((0, 1, 2, 0))))
    return path


def test_table(program, graph, batch):
    flags = [OWN, library('litert'), library('onnxruntime'), '--runs=3', '--repeats=2',
             '--warmup=1', '--batch_size=2', '--threads=1']
    models = [graph, model('.tflite'), 'onnxruntime=' + model('.onnx')]
    answer = json.loads(program('--compare', *models, *flags, '--batch_file', batch, '--json'))
    assert [entry['graph'] for entry in answer['models']] == [
        graph, model('.tflite'), model('.onnx')]
    assert [entry['runtime'].rsplit(' ', 1)[0] for entry in answer['models']] == [
        'TensorFlow', 'LiteRT', 'ONNX Runtime']
    for entry in answer['models']:
        assert (entry['images'], entry['correct']) == (4, 3)
        latency = entry['latency_ms']
        assert 0 < latency['min'] <= latency['median'] <= latency['p90'] <= latency['p99']
        assert entry['images_per_second'] == pytest.approx(2000 / latency['median'], rel=1e-6)
        assert entry['peak_rss_mb'] > 5 and entry['bytes'] > 100
    lines = program('--compare', *models[:2], *flags).splitlines()
    assert lines[0] == 'batch size 2, 1 thread, 2 x 3 runs in turn after 1 for warm-up'
    assert lines[1].split()[:2] == ['file', 'runtime'] and 'correct' not in lines[1]
    assert lines[2].startswith(graph) and '  1.000  ' in lines[2]
    assert len(lines) == 4
    for first in (models[0], models[2]):
        named = json.loads(program('--compare', '--graph', first, '--graph_name=other', models[1],
                                   *flags, '--json'))
        assert [entry['graph'] for entry in named['models']] == ['other', models[1]]


def test_a_pipe_is_not_for_several_models(error_line, graph, tmp_path):
    """The first would empty it."""
    os.mkfifo(str(tmp_path / 'pipe'))
    with open(os.open(str(tmp_path / 'pipe'), os.O_RDWR), 'wb'):
        line = error_line(1, '--compare', graph, graph, OWN, '--batch_file', tmp_path / 'pipe')
    assert line.endswith('each model must read it: save it to a file first\n')


def test_peak_memory_is_that_of_the_timed_batch_size(program, tmp_path):
    """The evaluation, in batches of 100, is later. This graph makes 5 MB of an image."""
    def build():
        pixels = tf.placeholder(tf.uint8, [None, 32, 32, 3], name='images')
        copies = tf.tile(tf.cast(pixels, tf.float32), [1, 1, 1, 400])
        tf.reduce_mean(tf.square(copies), [1, 2], name='predictions')
    (tmp_path / 'batch.bin').write_bytes(bytes(100 * 3073))
    flags = ['--compare', write_graph(tmp_path / 'a.pb', build), OWN, '--runs=2', '--repeats=1',
             '--warmup=1', '--json']
    peaks = [json.loads(program(*flags, *more))['models'][0]['peak_rss_mb']
             for more in ([], ['--batch_file', tmp_path / 'batch.bin'])]
    assert peaks[1] < peaks[0] + 100


@pytest.mark.parametrize('models,code,text', [
    (['nothing.tflite'], 1, 'nothing.tflite: No such file or directory'),
    (['onnxruntime/bfloat16=nothing.onnx'], 2, 'nothing.onnx: --precision bfloat16 is for'),
    (['openvino/int4=nothing.onnx'], 2, 'the precision must be float32 or bfloat16'),
    ([], 2, 'no graph: give --graph FILE')])
def test_mistakes_are_one_line(error_line, models, code, text):
    assert text in error_line(code, '--compare', *models)


def test_a_damaged_model_is_named_once(error_line, graph, tmp_path):
    path = tmp_path / 'a.tflite'
    with open(model('.tflite'), 'rb') as stream:
        path.write_bytes(stream.read(200))
    line = error_line(1, '--compare', path, graph, OWN, library('litert'), '--runs=1')
    assert line.startswith(f'label_image: {path}: LiteRT ') and line.count(str(path)) == 1


def test_a_missing_batch_file_ends_it_before_the_first_turn(error_line, graph):
    line = error_line(1, '--compare', graph, OWN, '--batch_file=none.bin')
    assert line == 'label_image: none.bin: No such file or directory\n'


def test_a_directory_is_no_batch_file(error_line, graph, tmp_path):
    for models in ([graph], [graph, graph]):
        line = error_line(1, '--compare', *models, OWN, f'--batch_file={tmp_path}')
        assert line == f'label_image: {tmp_path}: Is a directory\n'


def test_a_batch_of_another_size_does_not_lose_the_latencies(program, graph, tmp_path):
    (tmp_path / 'batch.bin').write_bytes(bytes(3 * 1000))
    process = execute(PROGRAM, '--compare', graph, OWN, '--runs=1',
                      f'--batch_file={tmp_path}/batch.bin')
    assert process.returncode == 1
    assert f'{tmp_path}/batch.bin: 3000 bytes are not whole records' in process.stderr
    assert process.stdout.splitlines()[-1].startswith(graph)


def test_a_killed_evaluation_does_not_lose_the_latencies(program, graph):
    process = subprocess.Popen(
        [PROGRAM, '--compare', graph, OWN, '--runs=1', '--batch_file=/dev/stdin'],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdin.write(bytes(10 ** 6))  # more than a pipe holds: the evaluation has begun to read
    for children in glob.glob(f'/proc/{process.pid}/task/*/children'):
        with open(children) as stream:
            for child in stream.read().split():
                os.kill(int(child), signal.SIGKILL)
    out, err = (text.decode() for text in process.communicate(timeout=60))
    assert process.returncode == 1
    assert err == f'label_image: {graph}: its process was killed by signal 9\n'
    assert out.splitlines()[-1].startswith(graph)


@pytest.mark.parametrize('name', ['', 'tensorflow/bfloat16='])
def test_a_configuration_leaves_no_precision_to_choose(error_line, graph, tmp_path, name):
    (tmp_path / 'config').write_bytes(b'')
    precision = [] if name else ['--precision=bfloat16']
    line = error_line(2, '--compare', name + graph, OWN, '--session_config', tmp_path / 'config',
                      *precision)
    assert '--precision bfloat16 and --session_config cannot be combined' in line


def test_predictions_are_of_a_single_model(error_line, graph, batch, tmp_path):
    line = error_line(2, '--compare', graph, '--batch_file', batch, '--predictions', tmp_path / 'p')
    assert '--predictions is for a single model' in line


def test_failure_of_one_model_ends_the_comparison(program, graph):
    """The processes of the others end with it: otherwise this would wait for them."""
    process = execute(PROGRAM, '--compare', graph, 'litert=' + graph, OWN, '--runs=1')
    assert process.returncode == 1 and process.stdout == ''
    assert process.stderr.count('\n') == 1 and 'is not a TensorFlow Lite model' in process.stderr
