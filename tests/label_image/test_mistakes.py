"""Whatever is wrong is answered with one line."""

import os
import re
import signal
import struct
import subprocess

import PIL.Image
import pytest
import tensorflow.compat.v1 as tf

from tests.label_image.program import (
    OWN, PROGRAM, SQUEEZE1, THIRD_PARTY, mean_colour, needs_third_party, noise, write_graph)


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


def test_graph_without_images_needs_to_be_told_how_to_preprocess(refusal, program):
    needs_third_party()
    picture = os.path.join(THIRD_PARTY, '251.png')
    line = refusal(2, '--graph=' + SQUEEZE1, OWN, picture)
    assert '--crop_size N --standardize per_image|none' in line
    assert '24x24' in refusal(2, '--graph=' + SQUEEZE1, OWN, '--crop_size=28',
                              '--standardize=per_image', picture)
