"""label_image: a real compiler, real processes, every TensorFlow in .venv."""

import json
import os
import re
import signal
import struct
import subprocess
import sys

import numpy as np
import PIL.Image
import pytest
import tensorflow.compat.v1 as tf

from permafrost import data

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PROGRAM = os.path.join(ROOT, 'label_image', 'build', 'label_image')
THIRD_PARTY = os.path.join(ROOT, '..', 'shared', 'thirdparty')
ENGINES = [name for name in ('tf1', 'tf1-mkl', 'tf2')
           if os.path.isdir(os.path.join(ROOT, '.venv', name))]
SQUEEZE1 = os.path.join(THIRD_PARTY, 'squeeze1.pb')
FED = ['--graph=' + SQUEEZE1, '--crop_size=24', '--standardize=per_image']
LABELS = ['red', 'green', 'blue']


def library(engine):
    return '--library=' + os.path.join(ROOT, '.venv', engine)


# By default the library of the engine that runs the tests.
OWN = '--library=' + sys.prefix


def execute(*arguments, **environment):
    return subprocess.run([str(a) for a in arguments], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          universal_newlines=True, timeout=570,
                          env=dict(os.environ, **environment))


def make(*arguments):
    done = execute('make', '-j2', '-C', os.path.join(ROOT, 'label_image'), *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope='session')
def program():
    """program(*flags): standard output of the built program, which must succeed quietly."""
    make()

    def run(*flags):
        done = execute(PROGRAM, *flags)
        assert (done.returncode, done.stderr) == (0, ''), done.stderr
        return done.stdout
    return run


@pytest.fixture(scope='session')
def refusal(program):
    """refusal(code, *flags): the one line on stderr with which the program exits `code`."""
    def run(code, *flags):
        done = execute(PROGRAM, *flags)
        assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
        assert done.stderr.count('\n') == 1 and done.stderr.startswith('label_image: ')
        return done.stderr
    return run


def needs_third_party():
    if not os.path.isfile(SQUEEZE1):
        pytest.skip('there is no %s' % SQUEEZE1)


def write_graph(path, build):
    """Writes the GraphDef of what `build` adds to a new graph; its path."""
    with tf.Graph().as_default() as graph:
        build()
    definition = graph.as_graph_def()
    for node in definition.node:
        if node.op == 'MatMul':  # 2.21 gives it attributes that 1.15 does not know
            for name in ('grad_a', 'grad_b'):
                if name in node.attr:
                    del node.attr[name]
    with open(str(path), 'wb') as stream:
        stream.write(definition.SerializeToString())
    return str(path)


def mean_colour(images):
    """The network of these tests: logits are the means of the colours, in 1/32."""
    pixels = tf.cast(images, tf.float32, name='inputs')
    logits = tf.reduce_mean(pixels, [1, 2]) / 32
    return tf.nn.softmax(tf.identity(logits, 'predictions'), name='probabilities')


def colours(size=32, labels=LABELS):
    def build():
        tf.constant(labels, name='labels')
        mean_colour(tf.placeholder(tf.uint8, [None, size, size, 3], name='images'))
    return build


@pytest.fixture(scope='session')
def graph(tmp_path_factory):
    return write_graph(tmp_path_factory.mktemp('graph') / 'colours.pb', colours())


def softmax(logits):
    powers = np.exp(logits - np.max(logits, -1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def classify(program, graph, *images):
    """Probabilities {label: p} of each image."""
    answer = json.loads(program('--graph=' + graph, OWN, '--json', '--top=3', *images))
    assert [image['image'] for image in answer['images']] == [str(image) for image in images]
    for image in answer['images']:
        chances = [top['probability'] for top in image['top']]
        assert chances == sorted(chances, reverse=True)
    return [{top['label']: top['probability'] for top in image['top']}
            for image in answer['images']]


def expected(rgb):
    """What `mean_colour` should say of uint8 [32, 32, 3]."""
    return dict(zip(LABELS, softmax(np.asarray(rgb, float).mean((0, 1)) / 32)))


def noise(height, width, channels=3, seed=0):
    """Smooth colours with a little noise, so that JPEG keeps them."""
    rows, columns = np.mgrid[:height, :width]
    planes = [100 + 90 * np.sin(rows / 17 + c) * np.cos(columns / 23 + 2 * c) + 40 * (c - 1)
              for c in range(channels)]
    grain = np.random.RandomState(seed).randint(0, 5, (height, width, channels))
    return np.clip(np.stack(planes, 2) + grain, 0, 255).astype(np.uint8)


@pytest.mark.parametrize('engine', ENGINES)
def test_third_party_graph_gets_its_published_count(program, engine, cifar10):
    needs_third_party()
    path = os.path.join(cifar10.directory, 'test_batch.bin')
    answer = json.loads(program(*FED, library(engine), '--batch_file=' + path, '--json'))
    assert answer['images'] == 10000 and abs(answer['correct'] - 8557) <= 3
    confusion = np.array(answer['confusion'])
    assert (confusion.sum(1) == 1000).all() and confusion.trace() == answer['correct']


def test_third_party_cars_are_cars(program):
    needs_third_party()
    cars = [os.path.join(THIRD_PARTY, name) for name in ('251.png', '256.png')]
    out = program(*FED, OWN, '--labels', os.path.join(THIRD_PARTY, 'labels.txt'), '--top=1', *cars)
    with open(os.path.join(THIRD_PARTY, 'labels.txt')) as stream:
        car = stream.read().split()[1]
    lines = out.splitlines()
    assert lines[::2] == cars and all(line.split()[2] == car for line in lines[1::2]), out


def test_batch_file_equals_python(program, graph, tmp_path):
    images = np.random.RandomState(3).randint(0, 256, (53, 32, 32, 3)).astype(np.uint8)
    images[:, :, :, 1] //= 2
    truth = np.arange(53) % 3
    records = [bytes([label]) + image.transpose(2, 0, 1).tobytes()
               for label, image in zip(truth, images)]
    (tmp_path / 'batch.bin').write_bytes(b''.join(records))
    lines = tmp_path / 'lines.txt'
    answer = json.loads(program('--graph=' + graph, OWN, '--batch_file', tmp_path / 'batch.bin',
                                '--batch_size=10', '--predictions', lines, '--json'))
    want = softmax(images.astype(float).mean((1, 2)) / 32)
    rows = np.array([line.split() for line in lines.read_text().splitlines()], float)
    assert (rows[:, 0] == np.arange(53)).all() and (rows[:, 1] == truth).all()
    assert (rows[:, 2] == want.argmax(1)).all()
    np.testing.assert_allclose(rows[:, 3:], want, atol=1e-5)
    confusion = np.zeros((3, 3), int)
    np.add.at(confusion, (truth, want.argmax(1)), 1)
    assert answer['confusion'] == confusion.tolist() and answer['labels'] == LABELS
    assert answer['correct'] == confusion.trace() and answer['images'] == 53
    short = json.loads(program('--graph=' + graph, OWN, '--batch_file', tmp_path / 'batch.bin',
                               '--limit=7', '--json'))
    assert short['images'] == 7
    text = program('--graph=' + graph, OWN, '--batch_file', tmp_path / 'batch.bin')
    assert text.startswith('%d of 53 images correct' % confusion.trace())


@pytest.mark.parametrize('name, convert', [
    ('rgb.png', lambda image: image),
    ('rgb.bmp', lambda image: image),
    ('grey.png', lambda image: image.convert('L')),
    ('grey.bmp', lambda image: image.convert('L')),
    ('grey.jpg', lambda image: image.convert('L')),
    ('bits.png', lambda image: image.convert('1')),
    ('bits.bmp', lambda image: image.convert('1')),
    ('palette.png', lambda image: image.convert('P')),
    ('palette.bmp', lambda image: image.convert('P')),
    ('alpha.png', lambda image: image.convert('RGBA')),
    ('alpha.bmp', lambda image: image.convert('RGBA')),
    ('rgb.jpg', lambda image: image),
    ('cmyk.jpg', lambda image: image.convert('CMYK')),
])
def test_formats_equal_pillow(program, graph, tmp_path, name, convert):
    path = str(tmp_path / name)
    convert(PIL.Image.fromarray(noise(32, 32))).save(path)
    found, = classify(program, graph, path)
    with PIL.Image.open(path) as image:
        want = expected(image.convert('RGB'))
    assert found == pytest.approx(want, abs=0.01 if name == 'cmyk.jpg' else 0.002)


def test_16_bits_and_progressive(program, graph, tmp_path):
    deep = noise(32, 32)[:, :, :1]
    PIL.Image.fromarray(deep[:, :, 0].astype(np.uint16) * 256).save(str(tmp_path / 'deep.png'))
    PIL.Image.fromarray(noise(64, 64)).save(str(tmp_path / 'p.jpg'), progressive=True)
    PIL.Image.fromarray(noise(64, 64)).save(str(tmp_path / 'b.jpg'), progressive=False)
    found = classify(program, graph, *(tmp_path / n for n in ('deep.png', 'p.jpg', 'b.jpg')))
    assert found[0] == pytest.approx(expected(np.repeat(deep, 3, 2)), abs=1e-4)
    assert found[1] == pytest.approx(found[2], abs=1e-4)


@pytest.mark.parametrize('height, width', [
    (32, 32), (64, 64), (300, 200), (201, 300), (20, 31), (1, 1), (1, 500), (500, 1), (33, 32)])
def test_any_size_is_cropped_and_resized_as_pillow_does(program, tmp_path, height, width):
    # A graph whose answer is one block of the picture, so that a shift shows.
    def build():
        images = tf.placeholder(tf.uint8, [None, 32, 32, 3], name='images')
        tf.constant(LABELS, name='labels')
        mean_colour(images[:, 3:7, 20:24])
    graph = write_graph(tmp_path / 'block.pb', build)
    pixels = noise(height, width, seed=height)
    PIL.Image.fromarray(pixels).save(str(tmp_path / 'i.png'))
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = PIL.Image.fromarray(pixels[top:top + side, left:left + side])
    want = np.asarray(square.resize((32, 32), PIL.Image.BILINEAR))[3:7, 20:24]
    found, = classify(program, graph, tmp_path / 'i.png')
    assert found == pytest.approx(expected(want), abs=0.012)  # a level of 255 moves it by 0.008


def test_many_images_and_one_bad(program, graph, tmp_path):
    PIL.Image.fromarray(noise(40, 40)).save(str(tmp_path / 'good.png'))
    (tmp_path / 'bad.png').write_bytes(b'no image')
    good, bad = tmp_path / 'good.png', tmp_path / 'bad.png'
    done = execute(PROGRAM, '--graph', graph, OWN, '--batch_size=2', good, bad, good, good)
    assert done.returncode == 1
    assert done.stderr == 'label_image: %s: not a PNG, JPEG or BMP image\n' % bad
    assert done.stdout.count('good.png\n') == 3 and done.stdout.count('%') == 9


@pytest.mark.parametrize('engine', ENGINES)
def test_benchmark_json(program, graph, engine):
    answer = json.loads(program('--graph=' + graph, library(engine), '--benchmark', '--json',
                                '--batch_size=4', '--runs=9', '--repeats=3', '--warmup=2',
                                '--threads=1', '--profile'))
    assert set(answer) == {
        'graph', 'tensorflow', 'library', 'node', 'output', 'input_shape', 'batch_size', 'threads',
        'warmup', 'runs', 'repeats', 'latency_ms', 'repeat_medians_ms', 'images_per_second',
        'peak_rss_mb', 'profile'}
    assert answer['tensorflow'].startswith('2.' if engine == 'tf2' else '1.15')
    assert (answer['node'], answer['input_shape']) == ('images', [1, 32, 32, 3])
    latency = answer['latency_ms']
    order = [latency[name] for name in ('min', 'median', 'p90', 'p99')]
    assert order == sorted(order) and order[0] > 0 and len(answer['repeat_medians_ms']) == 3
    assert answer['images_per_second'] == pytest.approx(4000 / latency['median'], rel=1e-6)
    assert answer['peak_rss_mb'] > 10
    assert any('Mean' in entry['op'] for entry in answer['profile']), answer['profile']


def test_the_network_alone_is_timed_at_inputs(program, graph):
    out = program('--graph=' + graph, OWN, '--benchmark', '--node=inputs', '--runs=3',
                  '--repeats=1')
    assert out.startswith('inputs -> predictions, batch 1, 1 thread, TensorFlow ')
    answer = json.loads(program('--graph=' + graph, OWN, '--benchmark', '--node=inputs', '--runs=3',
                                '--repeats=1', '--json'))
    assert answer['input_shape'] == [1, 32, 32, 3] and 'profile' not in answer


def test_graph_without_images_needs_to_be_told_how_to_preprocess(refusal, program):
    needs_third_party()
    picture = os.path.join(THIRD_PARTY, '251.png')
    line = refusal(2, '--graph=' + SQUEEZE1, OWN, picture)
    assert '--crop_size N --standardize per_image|none' in line
    assert '24x24' in refusal(2, '--graph=' + SQUEEZE1, OWN, '--crop_size=28',
                              '--standardize=per_image', picture)


# What graphs hold that has no place in inference, each between `images` and `predictions`.
def _variable(x):
    return x * tf.Variable(2., use_resource=False, name='v')


def _queue(x):
    queue = tf.FIFOQueue(1, tf.float32)
    return x * tf.reshape(queue.dequeue(), [])


def _file(x):
    return x + tf.cast(tf.strings.length(tf.io.read_file('/etc/passwd')), tf.float32)


def _written(x):
    with tf.control_dependencies([tf.io.write_file('/tmp/never', 'x')]):
        return tf.identity(x)


def _python(x):
    return tf.py_func(lambda y: y, [x], tf.float32)


def _random(x):
    return tf.nn.dropout(x, rate=0.5)


@pytest.mark.parametrize('spoil, op', [
    (_variable, 'Variable'), (_queue, 'QueueDequeue'), (_file, 'ReadFile'),
    (_written, 'WriteFile'), (_python, 'PyFunc'), (_random, 'RandomUniform')])
def test_what_does_not_belong_is_refused(refusal, tmp_path, spoil, op):
    def build():
        images = tf.placeholder(tf.uint8, [None, 32, 32, 3], name='images')
        pixels = tf.reshape(spoil(tf.cast(images, tf.float32)), [-1, 32, 32, 3])
        tf.identity(tf.reduce_mean(pixels, [1, 2]), name='predictions')
    path = write_graph(tmp_path / 'spoilt.pb', build)
    PIL.Image.fromarray(noise(32, 32)).save(str(tmp_path / 'i.png'))
    line = refusal(1, '--graph=' + path, OWN, tmp_path / 'i.png')
    assert 'do not belong in inference' in line and '--allow_any_op' in line
    assert re.search(r' \w*%s\w* \(' % op, line), line


def test_any_op_is_run_when_asked_for(program, tmp_path):
    (tmp_path / 'three').write_bytes(b'123')

    def build():
        images = tf.placeholder(tf.uint8, [None, 32, 32, 3], name='images')
        size = tf.strings.length(tf.io.read_file(str(tmp_path / 'three')))
        means = tf.reduce_mean(tf.cast(images, tf.float32), [1, 2])
        tf.identity(means * 0 + tf.cast(size, tf.float32) * [0., 1., 0.], name='predictions')
    path = write_graph(tmp_path / 'reads.pb', build)
    PIL.Image.fromarray(noise(32, 32)).save(str(tmp_path / 'i.png'))
    out = program('--graph=' + path, OWN, '--allow_any_op', '--top=1', tmp_path / 'i.png')
    assert '%.2f' % (100 * softmax(np.array([0., 3., 0.]))[1]) in out


def test_another_placeholder_is_named(refusal, tmp_path):
    def build():
        images = tf.placeholder(tf.uint8, [None, 32, 32, 3], name='images')
        scale = tf.placeholder(tf.float32, [], name='phase_train')
        tf.identity(tf.reduce_mean(tf.cast(images, tf.float32), [1, 2]) * scale, 'predictions')
    path = write_graph(tmp_path / 'two.pb', build)
    assert "'phase_train'" in refusal(1, '--graph=' + path, OWN, '--benchmark')


@pytest.mark.parametrize('threads', [1, 2])
@pytest.mark.parametrize('engine', ENGINES)
def test_control_flow_runs_at_any_number_of_threads(program, tmp_path, engine, threads):
    def build():
        images = tf.placeholder(tf.uint8, [None, 32, 32, 3], name='images')
        means = tf.reduce_mean(tf.cast(images, tf.float32), [1, 2])
        training = tf.placeholder_with_default(False, [], name='training')
        no, yes = tf.raw_ops.Switch(data=means, pred=training)
        tf.raw_ops.Merge(inputs=[no, yes * 0], name='merged')
        tf.identity(tf.get_default_graph().get_tensor_by_name('merged:0'), name='predictions')
    path = write_graph(tmp_path / 'switch.pb', build)
    answer = json.loads(program('--graph=' + path, library(engine), '--benchmark', '--json',
                                '--runs=3', '--repeats=1', '--threads=%d' % threads, '--profile'))
    assert answer['latency_ms']['min'] > 0 and answer['profile']


def test_device_placements_are_forgotten(program, tmp_path):
    def build():
        with tf.device('/job:worker/task:3/device:GPU:1'):
            colours()()
    path = write_graph(tmp_path / 'placed.pb', build)
    PIL.Image.fromarray(noise(32, 32)).save(str(tmp_path / 'i.png'))
    assert classify(program, path, tmp_path / 'i.png')[0] == pytest.approx(
        expected(noise(32, 32)), abs=1e-4)


@pytest.fixture(scope='session')
def bad(tmp_path_factory, graph):
    """A directory of things that are not what they should be."""
    folder = tmp_path_factory.mktemp('bad')

    def write(name, content):
        (folder / name).write_bytes(content)
    with open(graph, 'rb') as stream:
        whole = stream.read()
    write('colours.pb', whole)
    write('half.pb', whole[:len(whole) // 2])
    write('empty.pb', b'')
    write('text.pb', b'this is not a graph, it is a sentence')
    write('two.txt', b'cat\ndog\n')
    PIL.Image.fromarray(noise(32, 32)).save(str(folder / 'i.png'))
    png = (folder / 'i.png').read_bytes()
    write('half.png', png[:len(png) // 2])
    write('empty.png', b'')
    write('image.pb', png)
    big = bytearray(png)
    big[16:24] = struct.pack('>II', 100000, 100000)  # the checksum is wrong too: both are errors
    write('big.png', bytes(big))
    PIL.Image.fromarray(noise(99, 99)).save(str(folder / 'i.jpg'))
    jpeg = (folder / 'i.jpg').read_bytes()
    write('half.jpg', jpeg[:len(jpeg) // 2])
    at = jpeg.index(b'\xff\xc0')
    write('big.jpg', jpeg[:at + 5] + b'\xea\x60\xea\x60' + jpeg[at + 9:])
    PIL.Image.fromarray(noise(32, 32)).save(str(folder / 'i.bmp'))
    bmp = (folder / 'i.bmp').read_bytes()
    write('half.bmp', bmp[:len(bmp) // 2])
    write('big.bmp', bmp[:18] + struct.pack('<ii', 2 ** 31 - 1, -2 ** 31) + bmp[26:])
    write('gif.png', b'GIF89a' + bytes(100))
    write('odd.bin', bytes(3073 + 1))
    write('empty.bin', b'')
    write('label.bin', b'\x07' + bytes(3072))
    write('library.so', b'not a library')
    write_graph(folder / 'shape.pb', lambda: mean_colour(
        tf.placeholder(tf.uint8, [None, 20, 30, 3], name='images')))
    write_graph(folder / 'grey.pb', lambda: tf.reduce_mean(tf.cast(
        tf.placeholder(tf.uint8, [None, 32, 32, 1], name='images'), tf.float32), [1, 2],
        name='predictions'))
    write_graph(folder / 'scalar.pb', lambda: tf.reduce_mean(tf.cast(
        tf.placeholder(tf.uint8, [None, 32, 32, 3], name='images'), tf.float32),
        name='predictions'))
    write_graph(folder / 'apart.pb', lambda: (
        tf.placeholder(tf.uint8, [None, 32, 32, 3], name='images'),
        tf.constant([[1.]], name='predictions')))
    return folder


@pytest.mark.parametrize('code, flags, message', [
    (2, [], '--graph FILE'),
    (2, ['--grahp=x'], 'did you mean graph?'),
    (2, ['--graph'], '--graph needs a value'),
    (2, ['--graph='], '--graph is empty'),
    (2, ['--graph=colours.pb'], 'nothing to do'),
    (2, ['--graph=colours.pb', '--benchmark', 'i.png'], 'one at a time'),
    (2, ['--graph=colours.pb', '--benchmark=yes'], 'takes no value'),
    (2, ['--graph=colours.pb', '--benchmark', '--runs=0'], 'from 1 to'),
    (2, ['--graph=colours.pb', '--benchmark', '--threads=-1'], 'from 1 to'),
    (2, ['--graph=colours.pb', '--benchmark', '--batch_size=99999999999999999999'], 'from 1 to'),
    (2, ['--graph=colours.pb', '--top=many', 'i.png'], "not 'many'"),
    (2, ['--graph=colours.pb', '--standardize=all', 'i.png'], 'per_image or none'),
    (2, ['--graph=colours.pb', '--limit=3', 'i.png'], '--batch_file'),
    (2, ['--graph=colours.pb', '--crop_size=24', 'i.png'], "without a node 'images'"),
    (2, ['--graph=colours.pb', '--image_size=28', 'i.png'], 'takes images of 32x32'),
    (1, ['--graph=none.pb', 'i.png'], 'No such file'),
    (1, ['--graph=.', 'i.png'], 'Is a directory'),
    (1, ['--graph=empty.pb', 'i.png'], 'not a frozen graph'),
    (1, ['--graph=text.pb', 'i.png'], 'not a whole frozen graph'),
    (1, ['--graph=image.pb', 'i.png'], 'not a whole frozen graph'),
    (1, ['--graph=half.pb', 'i.png'], 'half.pb'),
    (1, ['--graph=shape.pb', 'i.png'], '[?, 20, 30, 3], not square'),
    (1, ['--graph=grey.pb', 'i.png'], '[?, 32, 32, 1], not square'),
    (1, ['--graph=scalar.pb', 'i.png'], 'not a row of floats for each'),
    (1, ['--graph=apart.pb', 'i.png'], "does not depend on 'images'"),
    (1, ['--graph=colours.pb', '--node=imagse', 'i.png'], "did you mean images?"),
    (1, ['--graph=colours.pb', '--output=prediction', 'i.png'], "did you mean predictions?"),
    (1, ['--graph=colours.pb', '--node=labels', 'i.png'], 'of type 7'),
    (1, ['--graph=colours.pb', '--labels=two.txt', 'i.png'], '2 labels for 3 classes'),
    (1, ['--graph=colours.pb', '--labels=none.txt', 'i.png'], 'No such file'),
    (1, ['--graph=colours.pb', '--library=none.so', 'i.png'], 'none.so'),
    (1, ['--graph=colours.pb', '--library=library.so', 'i.png'], 'library.so'),
    (1, ['--graph=colours.pb', '--library=.', 'i.png'], 'no TensorFlow library in it'),
    (1, ['--graph=colours.pb', '--library=libm.so.6', 'i.png'], 'libm.so.6'),
    (1, ['--graph=colours.pb', 'none.png'], 'No such file'),
    (1, ['--graph=colours.pb', '.'], 'Is a directory'),
    (1, ['--graph=colours.pb', 'empty.png'], 'empty'),
    (1, ['--graph=colours.pb', 'gif.png'], 'not a PNG, JPEG or BMP'),
    (1, ['--graph=colours.pb', 'half.png'], 'truncated'),
    (1, ['--graph=colours.pb', 'half.jpg'], 'a bad JPEG'),
    (1, ['--graph=colours.pb', 'half.bmp'], 'truncated'),
    (1, ['--graph=colours.pb', 'big.png'], 'big.png'),
    (1, ['--graph=colours.pb', 'big.jpg'], '100 megapixels'),
    (1, ['--graph=colours.pb', 'big.bmp'], '100 megapixels'),
    (1, ['--graph=colours.pb', '--batch_file=none.bin'], 'No such file'),
    (1, ['--graph=colours.pb', '--batch_file=odd.bin'], 'not whole records'),
    (1, ['--graph=colours.pb', '--batch_file=empty.bin'], 'not whole records'),
    (1, ['--graph=colours.pb', '--batch_file=label.bin'], 'knows 3 classes'),
    (1, ['--graph=colours.pb', '--session_config=i.png', '--benchmark'], 'configuration'),
])
def test_mistakes_are_one_line(refusal, bad, code, flags, message):
    def placed(flag):
        name, equals, value = flag.rpartition('=')
        there = value and os.path.exists(str(bad / value))
        return name + equals + str(bad / value) if there else flag
    flags = [placed(flag) for flag in flags]
    if not any(flag.startswith('--library') for flag in flags):
        flags.append(OWN)
    if flags[0] == '--graph' and len(flags) == 2:
        flags.reverse()
    assert message in refusal(code, *flags)


def test_a_crash_of_the_library_is_one_line(graph, program):
    process = subprocess.Popen([PROGRAM, '--graph=' + graph, OWN, '--benchmark', '--runs=1000000'],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               universal_newlines=True)
    maps = '/proc/%d/maps' % process.pid
    while not re.search(r'tensorflow.*\.so', open(maps).read()):  # until then nothing of it runs
        assert process.poll() is None
    process.send_signal(signal.SIGABRT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1 and err.count('\n') == 1, err
    assert err.startswith('label_image: TensorFlow crashed: ')


def test_help_names_every_flag(program):
    out = program('--help')
    assert '--batch_file TEXT' in out and '--standardize TEXT' in out and 'exit codes' in out


def test_script_builds_finds_the_library_and_the_model(graph, tmp_path):
    if not ENGINES:
        pytest.skip('there is no engine in .venv')
    script = os.path.join(ROOT, 'label_image.sh')
    PIL.Image.fromarray(noise(32, 32)).save(str(tmp_path / 'i.png'))
    os.utime(os.path.join(ROOT, 'label_image', 'main.cc'))
    done = execute(script, graph, tmp_path / 'i.png', '--', '--top=1', ENGINE=ENGINES[0])
    assert done.returncode == 0 and done.stdout.count('%') == 1, done.stderr
    assert done.stderr == 'building label_image\n'
    again = execute(script, graph, tmp_path / 'i.png', '--', '--top=1', ENGINE=ENGINES[0])
    assert (again.returncode, again.stderr, again.stdout) == (0, '', done.stdout)
    for code, arguments, message in [
            (2, ['nonesuch'], "no model or image 'nonesuch'"),
            (2, [graph, '--top=1'], 'flags go after --'),
            (1, [str(tmp_path / 'none.pb')], 'No such file'),
            (2, [], '')]:
        done = execute(script, *arguments, ENGINE=ENGINES[0])
        assert done.returncode == code and message in done.stderr, done.stderr
    done = execute(script, graph, 'i.png', ENGINE='nonesuch')
    assert done.returncode == 1 and 'make setup ENGINE=nonesuch' in done.stderr


def test_labels_of_the_data_set_are_in_our_graphs(program):
    path = os.path.join(ROOT, 'trained_models', 'tuto.pb')
    if not os.path.isfile(path):
        pytest.skip('there is no trained_models/tuto.pb')
    needs_third_party()
    answer = json.loads(program('--graph=' + path, OWN, '--json', '--top=10',
                                os.path.join(THIRD_PARTY, '251.png')))
    assert {top['label'] for top in answer['images'][0]['top']} == set(data.CLASSES)


@pytest.mark.slow
def test_sanitizers_have_nothing_to_report(program):
    make('sanitize')
    graphs = [path for path in (SQUEEZE1,) if os.path.isfile(path)]
    done = execute(os.path.join(ROOT, 'label_image', 'build', 'sanitize', 'fuzz'), 2000, 1, *graphs)
    assert done.returncode == 0, done.stderr[-3000:]
    assert '2000 mutants, no report' in done.stdout
