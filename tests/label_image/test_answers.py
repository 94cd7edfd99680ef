"""label_image prints the same facts about a graph and its classes as eval.py."""

import hashlib
import json
import os
import sys

import PIL.Image
import pytest
import tensorflow.compat.v1 as tf
from google.protobuf import text_format

from permafrost.evaluation.frozen_graphs import graph_def
from permafrost.evaluation.frozen_graphs.reading.model_card import read_model_card
from tests.evaluation.frozen_graphs.test_file_kinds import write_files
from tests.label_image.foreign_graphs import (
    RAW,
    evaluated_images,
    floats,
    network,
    renamed,
    sigmoids,
    two_of_each,
)
from tests.label_image.program import (
    ENGINES,
    FOLDER,
    OWN,
    PROGRAM,
    ROOT,
    execute,
    write_graph,
)


@pytest.fixture(scope='module')
def checksum(program, tmp_path_factory):
    """Return checksum(path), which calls Sha256OfFile."""
    del program  # it builds the objects
    folder = tmp_path_factory.mktemp('checksum')
    (folder / 'main.cc').write_text(
        '#include <cstdio>\n#include "sha256.h"\nint main(int, char** argv) {\n'
        '  puts(label_image::Sha256OfFile(argv[1]).c_str());\n}\n')
    objects = [os.path.join(FOLDER, 'build', name + '.o') for name in ('error', 'sha256', 'text')]
    built = execute('g++', '-std=c++17', '-I' + FOLDER, '-o', folder / 'main', folder / 'main.cc',
                    *objects)
    assert built.returncode == 0, built.stderr
    return lambda path: execute(folder / 'main', path).stdout.strip()


@pytest.mark.parametrize('is_of_this_graph, changes', [
    (True, {}), (False, {'bytes': 7}), (False, {'sha256': '0' * 64}), (True, {'sha256': None})])
def test_the_answer_names_the_model_and_accuracy_of_the_json(is_of_this_graph, changes, program,
                                                             picture, tmp_path):
    """Class names as long as ImageNet's are printed whole."""
    path = write_graph(tmp_path / 'a.pb', renamed)
    with open(path, 'rb') as stream:
        digest = hashlib.sha256(stream.read()).hexdigest()
    (tmp_path / 'a.json').write_text(json.dumps({
        'model': 'm\x1b', 'accuracy': 0.5, 'bytes': os.path.getsize(path), 'sha256': digest,
        'classes': [f'\u00e9{i}\n"' + 'x' * 121 + '\u00a0\u3000' for i in range(10)],
        'x': [{'y': None}, -1e9, True, {}, []], **changes}))
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


def test_a_softmax_in_int8_may_sum_to_less_than_1(program, picture, tmp_path):
    def build():
        images = tf.placeholder(tf.uint8, [None, 32, 32, 3], name='images')
        zero = tf.reduce_mean(tf.cast(images, tf.float32), [1, 2, 3])[:, None] * 0
        tf.identity(zero + [1 / 256, 0, 253 / 256], name='y')
    path = write_graph(tmp_path / 'a.pb', build)
    assert ' 98.83 %  2\n' in program('--graph=' + path, OWN, picture, '--output_kind=softmax')


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
    (tmp_path / 'labels.txt').write_bytes('\ufeffone\r\ntwo\rthree\n'.encode())
    answer = json.loads(program('--graph=' + graph, OWN, '--json', picture,
                                f'--labels={tmp_path}/labels.txt'))
    assert {top['label'] for top in answer['images'][0]['top']} == {'one', 'two', 'three'}


@pytest.mark.parametrize('size', [0, 1, 55, 56, 63, 64, 65, 119, 120, 2 ** 16, 10 ** 6])
def test_a_checksum_is_that_of_hashlib(size, checksum, tmp_path):
    content = os.urandom(size)
    (tmp_path / 'file').write_bytes(content)
    assert checksum(tmp_path / 'file') == hashlib.sha256(content).hexdigest()
