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
from permafrost.evaluation.frozen_graphs import graph_def
from tests.evaluation.helpers import center_crops
from tests.label_image.foreign_graphs import (
    RAW,
    RGB,
    WEIGHTS,
    bytes_of_any_size,
    channels_first,
    cropped,
    damaged,
    encoded,
    evaluated_images,
    fixed_batch,
    float16,
    floats,
    four_dimensions_of_float64,
    in_a_row,
    index_and_log_softmax,
    luminance,
    maps,
    network,
    one_column,
    one_column_of_two,
    one_image,
    rectified,
    renamed,
    sigmoids,
    softmax_by_hand,
    softmax_times_one,
    strange,
    switches,
    training_switches,
    two_of_each,
    wide,
    without_shape,
)
from tests.label_image.program import OWN, noise, write_graph


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


def test_a_placeholder_for_labels_is_not_the_names_of_the_classes(program, synthetic, tmp_path):
    def with_labels():
        tf.placeholder(tf.int64, [None], name='labels')
        renamed()

    path, (batch_file,) = write_graph(tmp_path / 'a.pb', with_labels), synthetic.splits['test']
    assert evaluate_in_python(path, RAW, synthetic)[0]['images'] > 0
    assert ' images correct' in program('--graph=' + path, OWN, '--batch_file', batch_file, *RAW)


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


@pytest.mark.parametrize('build, flags, message', [
    (without_shape, [], "(input 'x') leaves some settings open: add --image_size N"),
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
    (bytes_of_any_size, RAW, 'receives pixels as they are'),
    (bytes_of_any_size, ['--crop_size=24'], 'receives whole images: give --image_size'),
    (renamed, RAW + ['--image_size=32', '--input_width=32'],
     '--image_size and --crop_size cannot be combined with --input_width and --input_height')],
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
