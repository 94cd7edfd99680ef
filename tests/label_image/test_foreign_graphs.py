"""Graphs as others make them: eval.py and label_image take the same flags and agree with NumPy."""

import contextlib
import io
import json

import numpy as np
import PIL.Image
import pytest
import tensorflow.compat.v1 as tf

from permafrost.datasets import loading
from permafrost.errors import UserError
from permafrost.evaluation import evaluate
from tests.evaluation.helpers import center_crops
from tests.evaluation.frozen_graphs.test_file_kinds import write_files
from tests.label_image.program import OWN, PROGRAM, execute, write_graph

WEIGHTS = np.random.RandomState(5).randn(3, 10).astype(np.float32)
RGB = np.array([120., 110, 100])
RAW = ['--standardize=none']


def network(x):
    """Return the logits of the mean colours of the images x."""
    return tf.matmul(tf.reduce_mean(x, [1, 2]), WEIGHTS)


def floats(name='x', size=32, batch=None):
    return tf.placeholder(tf.float32, [batch, size, size, 3], name=name)


def renamed():
    tf.identity(network(floats('Input')), name='Output')


def fixed_batch():
    tf.matmul(tf.reshape(tf.reduce_mean(floats(batch=1), [1, 2]), [1, 3]), WEIGHTS, name='y')


def cropped():
    tf.identity(network(floats('inputs', 24)), name='predictions')


def without_shape():
    tf.identity(network(tf.placeholder(tf.float32, name='x')), name='y')


def bytes_of_any_size():
    pixels = tf.placeholder(tf.uint8, [None, None, None, 3], name='image_tensor')
    tf.nn.softmax(network(tf.cast(pixels, tf.float32) / 255), name='y')


def softmax_times_one():
    tf.multiply(tf.nn.softmax(network(floats())), tf.constant(1.), name='y')


def softmax_by_hand():
    powers = tf.exp(network(floats()))
    tf.divide(powers, tf.reduce_sum(powers, 1, keepdims=True), name='y')


def sigmoids():
    tf.sigmoid(network(floats()), name='y')


def four_dimensions_of_float64():
    tf.reshape(tf.cast(tf.nn.softmax(network(floats())), tf.float64), [-1, 1, 1, 10], name='y')


def index_and_log_softmax():
    logits = network(floats('inputs'))
    tf.argmax(logits, 1, name='predictions')
    tf.nn.log_softmax(logits, name='probabilities')


def switches():
    factor = tf.placeholder(tf.float32, [], name='keep_prob')
    training = tf.placeholder_with_default(False, [], name='is_training')
    tf.identity(network(floats() * factor) * (1 - 3 * tf.cast(training, tf.float32)), name='y')


def whole(images):
    return images


def scaled(images):
    return (images - RGB) / 50


@pytest.mark.parametrize('build, flags, expected', [
    (renamed, ['--input_mean=120,110,100', '--input_std=50'], scaled),
    (fixed_batch, ['--input_mean=120,110,100', '--input_std=50,50,50'], scaled),
    (cropped, ['--standardize=per_image'], center_crops),
    (without_shape, ['--image_size=24', '--standardize=per_image'], center_crops),
    (bytes_of_any_size, ['--image_size=32'], whole), (softmax_times_one, RAW, whole),
    (softmax_by_hand, ['--input_std=100'], whole), (sigmoids, ['--input_std=100'], whole),
    (four_dimensions_of_float64, ['--input_std=100'], whole), (index_and_log_softmax, RAW, whole),
    (switches, RAW + ['--feed=keep_prob=0.5'], whole)],
    ids=lambda value: getattr(value, '__name__', None))
def test_both_programs_count_as_numpy_does(build, flags, expected, program, synthetic, tmp_path):
    path = write_graph(tmp_path / 'a.pb', build)
    images, labels = loading.load(synthetic, 'test')
    logits = expected(images.astype(np.float64)).mean((1, 2)) @ WEIGHTS
    correct = (logits.argmax(1) == labels).sum()
    metrics, lines = evaluate_in_python(path, flags, synthetic)
    assert abs(metrics['correct'] - correct) <= 1
    batch_file, = synthetic.splits['test']
    output = program('--graph=' + path, OWN, '--batch_file', batch_file, *flags).splitlines()
    assert [line for line in output if line.split(': ')[0] in lines] == list(lines.values())
    count, = (int(line.split()[0]) for line in output if ' images correct' in line)
    assert abs(count - correct) <= 1


def evaluate_in_python(path, flags, dataset):
    """Return the metrics of eval.py, and {first word: line} of what it says that it assumed."""
    stated = {}
    for flag in flags:
        name, value = flag[2:].split('=', 1)
        stated[name] = {'feed': [value]}.get(name, int(value) if name == 'image_size' else value)
    with contextlib.redirect_stdout(io.StringIO()) as stream:
        metrics = evaluate.evaluate_frozen_graph(
            path, None, evaluate.Statement(**stated), dataset='synthetic',
            data_dir=dataset.directory)
    lines = stream.getvalue().splitlines()
    return metrics, {line.split(': ')[0]: line for line in lines if line.split(': ')[0] in (
        'graph', 'input', 'output', 'defaults of the graph')}


def two_of_each():
    both = floats('a') + floats('b')
    tf.reduce_mean(both, [1, 2], name='one')
    tf.reduce_sum(both, [1, 2], name='two')


def damaged():
    tf.identity(network(floats() * np.nan), name='y')


def one_column():
    tf.reduce_mean(floats(), [1, 2, 3], name='mean')
    tf.matmul(tf.reduce_mean(floats('inputs'), [1, 2]), WEIGHTS[:, :1], name='predictions')


def grey():
    tf.reduce_mean(tf.placeholder(tf.float32, [None, 28, 28, 1], name='x'), [1, 2], name='y')


def maps():
    tf.nn.softmax(floats('x'), name='y')


@pytest.mark.parametrize('build, flags, message', [
    (renamed, [], "is fed at 'Input' and does not say all that is needed: add --standardize"),
    (without_shape, [], 'add --image_size N --standardize per_image|none, or --input_mean M'),
    (switches, RAW, 'add --feed keep_prob=VALUE'),
    (two_of_each, [], 'add --node NAME (candidates: a, b) --output NAME (candidates: one, two) '
                      '--standardize'),
    (damaged, RAW, "node 'y' returns NaN (column 0)"),
    (one_column, RAW, '1 number by MatMul: give --output_kind'),
    (softmax_by_hand, RAW + ['--output_kind=odd'], 'logits, softmax, sigmoid or raw'),
    (sigmoids, ['--input_std=100', '--output_kind=softmax'], 'does not return probabilities'),
    (grey, RAW, 'has shape [N, 28, 28, 1], but only square images'),
    (maps, RAW, 'not a row of floats for each'),
    (bytes_of_any_size, RAW, 'receives pixels as they are')],
    ids=lambda value: getattr(value, '__name__', None))
def test_both_programs_ask_for_the_same_in_one_line(build, flags, message, error_line, synthetic,
                                                    tmp_path):
    path = write_graph(tmp_path / 'a.pb', build)
    with pytest.raises(UserError) as error:
        evaluate_in_python(path, flags, synthetic)
    assert message in str(error.value) and '\n' not in str(error.value)
    batch_file, = synthetic.splits['test']
    line = error_line(error.value.exit_code, '--graph=' + path, OWN, '--batch_file', batch_file,
                      '--batch_size=500', *flags)
    assert line == f'label_image: {error.value}\n'


def test_both_programs_know_the_same_kinds_of_files(error_line, tmp_path, picture):
    for path, text in write_files(tmp_path).items():
        line = error_line(1, '--graph=' + path, OWN, picture)
        assert f'{path} is not a frozen graph: it ' in line and text in line, line


def test_tensorflows_names_of_the_flags(program, picture, tmp_path):
    path = write_graph(tmp_path / 'a.pb', two_of_each)
    flags = ['--graph=' + path, OWN, '--feed=b=0', '--json', picture, '--input_std=255']
    process = execute(PROGRAM, *flags, '--input_layer=a:0', '--output_layer=one:0',
                      '--input_width=32', '--input_height=32')
    assert process.returncode == 1 and 'one number or bool' in process.stderr
    path = write_graph(tmp_path / 'a.pb', sigmoids)
    flags = ['--graph=' + path, OWN, '--json', '--input_std=255', picture]
    answer = json.loads(program(*flags, '--input_layer=x:0', '--output_layer', 'y', '--top=1',
                                '--input_width=32', '--input_height=32'))
    assert (answer['node'], answer['output']) == ('x', 'y')
    assert (answer['preprocessing'], answer['output_kind']) == ('(x - 0) / 255', 'sigmoid')
    raw = json.loads(program(*flags, '--output_kind=raw', '--top=1'))
    assert raw['images'][0]['top'][0]['value'] == answer['images'][0]['top'][0]['probability']
    process = execute(PROGRAM, *flags, '--input_width=32', '--input_height=28')
    assert process.returncode == 2 and 'only square' in process.stderr


def test_a_binary_score_is_of_two_classes(program, picture, tmp_path):
    def build():
        tf.constant(['cat', 'dog'], name='labels')
        tf.sigmoid(tf.reduce_mean(floats() / 255, [1, 2, 3])[:, None], name='y')
    path = write_graph(tmp_path / 'a.pb', build)
    output = program('--graph=' + path, OWN, picture, *RAW).splitlines()
    scores = dict(line.split(' %  ')[::-1] for line in output if ' %  ' in line)
    assert float(scores['dog']) > 50 and float(scores['cat']) + float(scores['dog']) == 100


def test_names_are_printed_escaped_and_json_is_valid(program, tmp_path):
    def build():
        tf.constant([b'\x1b[31mred', b'caf\xe9', 'grün'.encode()], name='labels')
        tf.identity(tf.reduce_mean(floats('images'), [1, 2]), name='predictions')
    path = write_graph(tmp_path / 'a.pb', build)
    name = str(tmp_path).encode() + b'/\xe9\x1b\n.png'
    with open(name, 'wb') as stream:
        PIL.Image.new('RGB', (32, 32)).save(stream, 'png')
    text = program(f'--graph={path}', OWN, name.decode('utf-8', 'surrogateescape'), *RAW)
    assert all(each in text for each in (r'\x1b[31mred', r'caf\xe9', 'grün', r'/\xe9\x1b\n.png'))
    assert '\x1b' not in text
    answer = json.loads(program(f'--graph={path}', OWN, '--json', *RAW,
                                name.decode('utf-8', 'surrogateescape')))
    image, = answer['images']
    assert {top['label'] for top in image['top']} == {r'\x1b[31mred', r'caf\xe9', 'grün'}
    assert image['image'].endswith('/\\xe9\x1b\n.png')


def test_the_byte_order_mark_of_a_labels_file_is_no_name(program, graph, picture, tmp_path):
    (tmp_path / 'labels.txt').write_bytes('\ufeffone\r\ntwo\nthree\n'.encode())
    answer = json.loads(program('--graph=' + graph, OWN, '--json', picture,
                                f'--labels={tmp_path}/labels.txt'))
    assert {top['label'] for top in answer['images'][0]['top']} == {'one', 'two', 'three'}
