"""Graphs as others make them: eval.py and label_image take the same flags and agree with NumPy."""

import contextlib
import io
import json
import os
import sys

import numpy as np
import PIL.Image
import pytest
import tensorflow.compat.v1 as tf
from google.protobuf import text_format

from permafrost.datasets import loading
from permafrost.errors import UserError
from permafrost.evaluation import evaluate
from permafrost.evaluation.frozen_graphs import graph_def
from permafrost.evaluation.frozen_graphs.reading.model_card import read_model_card
from tests.evaluation.frozen_graphs.test_file_kinds import write_files
from tests.evaluation.helpers import center_crops
from tests.label_image.program import ENGINES, OWN, PROGRAM, ROOT, execute, noise, write_graph

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
    tf.matmul(tf.reshape(tf.reduce_mean(floats(batch=8), [1, 2]), [8, 3]), WEIGHTS, name='y')


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


def luminance():
    grey = tf.reduce_mean(tf.placeholder(tf.float32, [None, 28, 28, 1], name='x'), [1, 2])
    tf.matmul(grey, WEIGHTS[:1], name='y')


def channels_first():
    colours = tf.reduce_mean(tf.placeholder(tf.float32, [None, 3, 32, 32], name='x'), [2, 3])
    tf.matmul(colours, WEIGHTS, name='y')


def in_a_row():
    tf.identity(network(tf.reshape(tf.placeholder(tf.float32, [None, 3072], name='x'),
                                   [-1, 32, 32, 3])), name='y')


def float16():
    pixels = tf.placeholder(tf.float16, [None, 32, 32, 3], name='x')
    tf.cast(network(tf.cast(pixels, tf.float32) / 255), tf.float16, name='y')


def one_image():
    colours = tf.reduce_mean(tf.placeholder(tf.float32, [32, 32, 3], name='x'), [0, 1])
    tf.reduce_sum(colours[:, None] * WEIGHTS, 0, name='y')


def encoded():
    pixels = tf.io.decode_png(tf.placeholder(tf.string, [], name='bytes'), 3, name='decoded')
    tf.nn.softmax(network(tf.cast(pixels, tf.float32)[None] / 255), name='y')


def wide():
    tf.identity(network(tf.placeholder(tf.float32, [None, 24, 32, 3], name='x')), name='y')


def training_switches():
    keep = tf.placeholder(tf.float32, name='keep_prob')
    training = tf.placeholder(tf.bool, [], name='is_training')
    tf.identity(network(floats()) / keep * (1 - 3 * tf.cast(training, tf.float32)), name='y')


def one_column_of_two():
    tf.sigmoid(tf.matmul(tf.reduce_mean(floats() / 255, [1, 2]), WEIGHTS[:, :1]), name='y')


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
    (switches, RAW + ['--feed=keep_prob=0.5'], whole), (renamed, [], whole),
    (channels_first, [], whole), (in_a_row, ['--input_mean=120,110,100', '--input_std=50'], scaled),
    (float16, [], whole), (one_image, [], whole), (training_switches, [], whole),
    (encoded, [], whole)],
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


def test_no_image_of_a_fixed_batch_is_padding(program, synthetic, tmp_path):
    path, (batch_file,) = write_graph(tmp_path / 'a.pb', fixed_batch), synthetic.splits['test']
    for asked, expected in ((100, 96), (3, 8)):
        answer = json.loads(program('--graph=' + path, OWN, '--batch_file', batch_file, '--json',
                                    f'--batch_size={asked}', '--output_kind=raw', *RAW))
        assert answer['batch_size'] == expected and answer['images_per_second'] > 0


def test_a_graph_with_many_placeholders_is_read_once(program, synthetic, tmp_path):
    """It took an hour: the file was copied and parsed for each."""
    def switches_of_all_layers():
        y = network(floats())
        unused = [tf.placeholder(tf.bool, [], name=f'train{i}') for i in range(4000)]
        for first in range(0, 4000, 1000):
            y += tf.cast(tf.stack(unused[first:first + 1000])[0], tf.float32)
        tf.identity(y, name='y')

    path, (batch_file,) = write_graph(tmp_path / 'a.pb', switches_of_all_layers), (
        synthetic.splits['test'])
    output = program('--graph=' + path, OWN, '--batch_file', batch_file, '--output_kind=raw', *RAW)
    assert 'train3999=false' in output


def test_a_scalar_is_no_image_unless_the_graph_is_old(error_line, program, tmp_path, picture):
    """The first versions of TensorFlow wrote an unknown shape as that of a scalar."""
    path = write_graph(tmp_path / 'a.pb', without_shape)
    graph = graph_def.read_graph(path)
    fed = next(node for node in graph.node if node.name == 'x')
    fed.attr['shape'].shape.Clear()
    flags = ['--image_size=24', '--output_kind=raw']
    for producer in (graph.versions.producer, 21):
        graph.versions.producer = producer
        (tmp_path / 'a.pb').write_bytes(graph.SerializeToString())
        if producer == 21:
            assert 'noise.png' in program('--graph=' + path, OWN, picture, *flags)
            assert evaluate.classify_images(path, [str(picture)], None, evaluate.GraphOptions(
                image_size=24, output_kind='raw')) == 0
        else:
            assert "node 'x' has shape [], but only images can be fed" in error_line(
                1, '--graph=' + path, OWN, picture, *flags)


def test_rows_whose_width_depends_on_the_batch_are_refused(error_line, synthetic, tmp_path):
    def products():
        x = tf.reshape(floats(), [-1, 32 * 32 * 3])
        tf.matmul(x, x, transpose_b=True, name='y')

    path = write_graph(tmp_path / 'a.pb', products)
    batch_file, = synthetic.splits['test']
    message = 'rows of 300 numbers, then of 200'
    assert message in error_line(1, '--graph=' + path, OWN, '--batch_file', batch_file,
                                 '--batch_size=300', '--output_kind=raw', *RAW)


def evaluate_in_python(path, flags, dataset):
    """Return the metrics of eval.py, and {first word: line} of what it says that it assumed."""
    stated = {}
    for flag in flags:
        name, value = flag[2:].split('=', 1)
        stated[name] = {'feed': [value]}.get(name, int(value) if value.isdigit() and
                                             name in ('image_size', 'input_width') else value)
    with contextlib.redirect_stdout(io.StringIO()) as stream:
        metrics = evaluate.evaluate_frozen_graph(
            path, None, evaluate.GraphOptions(**stated), dataset='synthetic',
            data_dir=dataset.directory)
    lines = stream.getvalue().splitlines()
    return metrics, {line.split(': ')[0]: line for line in lines if line.split(': ')[0] in (
        'graph', 'input', 'output', 'assumed', 'defaults of the graph')}


def two_of_each():
    both = floats('a') + floats('b')
    tf.reduce_mean(both, [1, 2], name='one')
    tf.reduce_sum(both, [1, 2], name='two')


def damaged():
    tf.identity(network(floats() * np.nan), name='y')


def one_column():
    tf.reduce_mean(floats(), [1, 2, 3], name='mean')
    tf.matmul(tf.reduce_mean(floats('inputs'), [1, 2]), WEIGHTS[:, :1], name='predictions')


def strange():
    tf.reduce_mean(tf.placeholder(tf.float32, [None, 28, 28, 7], name='x'), [1, 2], name='y')


def rectified():
    """Named as ours, but fed floats: `predictions` need not be logits."""
    tf.nn.relu(tf.reduce_mean(floats('images'), [1, 2]), name='predictions')


def maps():
    tf.nn.softmax(floats('x'), name='y')


@pytest.mark.parametrize('build, flags, message', [
    (without_shape, [], "is fed at 'x' and does not specify everything: add --image_size N"),
    (two_of_each, [], 'add --node NAME (candidates: a, b) --output NAME (candidates: one, two)'),
    (damaged, RAW, "node 'y' returns NaN (column 0)"),
    (one_column, RAW, '1 number by MatMul: give --output_kind'),
    (softmax_by_hand, RAW + ['--output_kind=odd'], 'logits, softmax, sigmoid or raw'),
    (sigmoids, ['--input_std=100', '--output_kind=softmax'], 'does not return probabilities'),
    (strange, RAW, 'has shape [N, 28, 28, 7], but only images can be fed'),
    (luminance, ['--input_mean=1,2,3'], 'must be one number for grey images'),
    (renamed, ['--image_size=28'], 'expects images of 32x32, but --image_size is 28x28'),
    (maps, RAW, 'not a row of floats for each'),
    (rectified, RAW, '3 numbers by Relu: give --output_kind'),
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


@pytest.mark.parametrize('build', [
    renamed, cropped, luminance, channels_first, in_a_row, float16, one_image, encoded, wide,
    bytes_of_any_size, sigmoids, one_column_of_two, index_and_log_softmax],
    ids=lambda build: build.__name__)
def test_both_programs_print_the_same_of_an_image_to_the_digit(build, program, tmp_path):
    path = write_graph(tmp_path / 'a.pb', build)
    images = []
    for height, width in ((32, 32), (60, 41), (20, 90)):
        images.append(str(tmp_path / f'{height}.png'))
        PIL.Image.fromarray(noise(height, width, seed=height)).save(images[-1])
    assert evaluated_images(path, images) == program('--graph=' + path, OWN, '--top=10', *images)


def evaluated_images(path, images):
    """Return what eval.py --images prints."""
    with contextlib.redirect_stdout(io.StringIO()) as stream:
        assert evaluate.classify_images(path, images, None, top=10) == 0
    return stream.getvalue()


@pytest.mark.parametrize('is_of_this_graph', [False, True])
def test_the_answer_names_the_model_and_accuracy_of_the_json(is_of_this_graph, program, picture,
                                                             tmp_path):
    path = write_graph(tmp_path / 'a.pb', renamed)
    (tmp_path / 'a.json').write_text(json.dumps({
        'model': 'm\x1b', 'accuracy': 0.5, 'bytes': os.path.getsize(path) - 1 + is_of_this_graph,
        'classes': [f'\u00e9{i}\n"' for i in range(10)], 'x': [{'y': None}, -1e9, True, {}, []]}))
    printed = program('--graph=' + path, OWN, '--top=10', picture)
    assert printed == evaluated_images(path, [str(picture)])
    assert printed.startswith(f'graph: {path}' + r' (m\x1b, accuracy 0.5000)' * is_of_this_graph
                              + '\n')
    assert ('é7 "' in printed) == is_of_this_graph


def test_the_json_is_next_to_a_saved_model(program, graph, picture, tmp_path):
    """label_image.sh gives the name of the directory, and the graph in it. Its size is no sign."""
    (tmp_path / 'saved').mkdir()
    (tmp_path / 'saved.json').write_text('{"model": "m", "bytes": 7}')
    name = f'{tmp_path}/saved/'
    lines = program('--graph=' + graph, '--graph_name=' + name, OWN, picture).splitlines()
    assert lines[0] == f'graph: {name} (m)'
    assert lines[0] == 'graph: ' + read_model_card(name).title(name)


def test_a_saved_model_and_a_graph_as_text_run(program, picture, tmp_path):
    if not ENGINES:
        pytest.skip('there is no engine in .venv')
    with tf.Graph().as_default(), tf.Session() as session:
        x = floats()
        y = tf.nn.softmax(network(x / 100) * tf.get_variable('w', initializer=1.), name='y')
        session.run(tf.global_variables_initializer())
        tf.saved_model.simple_save(session, str(tmp_path / 'saved'), {'x': x}, {'y': y})
    path = write_graph(tmp_path / 'a.pb', lambda: tf.nn.softmax(network(floats() / 100), name='y'))
    definition = graph_def.read_graph(path)
    (tmp_path / 'a.pbtxt').write_text(text_format.MessageToString(definition))
    expected = program('--graph=' + path, OWN, picture)
    os.rename(str(tmp_path / 'saved'), str(tmp_path / 'lr[1]'))  # a path is no pattern
    for name in ('lr[1]', 'a.pbtxt'):
        process = execute(os.path.join(ROOT, 'label_image.sh'), tmp_path / name, picture,
                          ENGINE=os.path.basename(sys.prefix))
        assert process.stdout == expected.replace('a.pb', name), process.stderr


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
    assert process.returncode == 2 and 'expects images of 32x32' in process.stderr


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
        pixels = tf.placeholder(tf.uint8, [None, 32, 32, 3], name='images')
        tf.identity(tf.reduce_mean(tf.cast(pixels, tf.float32), [1, 2]), name='predictions')
    path = write_graph(tmp_path / 'a.pb', build)
    name = str(tmp_path).encode() + b'/\xe9\x1b\n.png'
    with open(name, 'wb') as stream:
        PIL.Image.new('RGB', (32, 32)).save(stream, 'png')
    text = program(f'--graph={path}', OWN, name.decode('utf-8', 'surrogateescape'))
    assert all(each in text for each in (r'\x1b[31mred', r'caf\xe9', 'grün', r'/\xe9\x1b\n.png'))
    assert '\x1b' not in text
    answer = json.loads(program(f'--graph={path}', OWN, '--json',
                                name.decode('utf-8', 'surrogateescape')))
    image, = answer['images']
    assert {top['label'] for top in image['top']} == {r'\x1b[31mred', r'caf\xe9', 'grün'}
    assert image['image'].endswith('/\\xe9\x1b\n.png')


def test_the_byte_order_mark_of_a_labels_file_is_no_name(program, graph, picture, tmp_path):
    (tmp_path / 'labels.txt').write_bytes('\ufeffone\r\ntwo\nthree\n'.encode())
    answer = json.loads(program('--graph=' + graph, OWN, '--json', picture,
                                f'--labels={tmp_path}/labels.txt'))
    assert {top['label'] for top in answer['images'][0]['top']} == {'one', 'two', 'three'}
