"""Every mistake is one line on stderr and the right exit code."""

import glob
import os
import re
import select
import signal
import struct
import subprocess
import time
import zlib

import PIL.Image
import pytest
import tensorflow.compat.v1 as tf

from tests.label_image.program import OWN, PROGRAM, execute, mean_colour, noise, write_graph

LIBM, *_ = glob.glob('/lib/*/libm.so.6')  # any library without TensorFlow's symbols


@pytest.fixture(scope='session')
def files(tmp_path_factory, graph):
    """A directory of good and of damaged files."""
    folder = tmp_path_factory.mktemp('files')

    def write(name, content):
        (folder / name).write_bytes(content)
    with open(graph, 'rb') as stream:
        content = stream.read()
    write('colours.pb', content)
    write('half.pb', content[:len(content) // 2])
    write('empty.pb', b'')
    write('text.pb', b'this is not a graph, it is a sentence')
    write('two.txt', b'cat\ndog\n')
    write('model.onnx', b'\x08\x08\x12\x07pytorch' + bytes(99))
    PIL.Image.fromarray(noise(32, 32)).save(str(folder / 'i.png'))
    png = (folder / 'i.png').read_bytes()
    write('half.png', png[:len(png) // 2])
    write('empty.png', b'')
    write('image.pb', png)
    big = bytearray(png)
    big[16:24] = struct.pack('>II', 100000, 100000)
    big[29:33] = struct.pack('>I', zlib.crc32(big[12:29]))
    write('big.png', bytes(big))
    PIL.Image.fromarray(noise(99, 99)).save(str(folder / 'i.jpg'))
    jpeg = (folder / 'i.jpg').read_bytes()
    write('half.jpg', jpeg[:len(jpeg) // 2])
    sof = jpeg.index(b'\xff\xc0')
    write('big.jpg', jpeg[:sof + 5] + b'\xea\x60\xea\x60' + jpeg[sof + 9:])
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
        tf.placeholder(tf.uint8, [None, 20, 30, 7], name='images')))
    write_graph(folder / 'scalar.pb', lambda: tf.reduce_mean(tf.cast(
        tf.placeholder(tf.uint8, [None, 32, 32, 3], name='images'), tf.float32),
        name='predictions'))
    write_graph(folder / 'disconnected.pb', lambda: (
        tf.placeholder(tf.uint8, [None, 32, 32, 3], name='images'),
        tf.constant([[1.]], name='predictions')))
    write_graph(folder / 'rgba.pb', lambda: mean_colour(tf.io.decode_png(
        tf.placeholder(tf.string, [], name='images'), 4)[None, :, :, :3]))
    for count in (0, 10 ** 9):
        write_graph(folder / f'batch{count}.pb', lambda count=count: mean_colour(
            tf.placeholder(tf.uint8, [count, 32, 32, 3], name='images')))
    return folder


@pytest.mark.parametrize('code, flags, message', [
    (2, [], '--graph FILE'),
    (2, ['--grahp=x'], 'did you mean graph?'),
    (2, ['--graph'], '--graph needs a value'),
    (2, ['--graph='], '--graph is empty'),
    (2, ['--graph=colours.pb'], 'nothing to do'),
    (2, ['--graph=colours.pb', ''], 'an argument is empty'),
    (2, ['--compare', 'litert='], 'litert= names no file'),
    (1, ['--graph=colours.pb', '--graph_name=' + 300 * 'n', 'none.png'], 'none.png: No such file'),
    (2, ['--graph=colours.pb', '--benchmark', 'i.png'], 'only one of images'),
    (2, ['--graph=colours.pb', '--benchmark=yes'], 'takes no value'),
    (2, ['--graph=colours.pb', '--benchmark', '--runs=0'], 'from 1 to'),
    (2, ['--graph=colours.pb', '--benchmark', '--threads=-1'], 'from 1 to'),
    (2, ['--graph=colours.pb', '--benchmark', '--batch_size=99999999999999999999'], 'from 1 to'),
    (2, ['--graph=colours.pb', '--top=many', 'i.png'], "not 'many'"),
    (2, ['--graph=colours.pb', '--standardize=all', 'i.png'], 'per_image or none'),
    (2, ['--graph=colours.pb', '--limit=3', 'i.png'], '--batch_file'),
    (2, ['--graph=colours.pb', '--warmup=3', '--repeats=5', 'i.png'],
     '--warmup, --runs and --repeats require --benchmark or --compare'),
    (2, ['--graph=colours.pb', '--benchmark', '--top=2'], '--top requires images'),
    (2, ['--graph=colours.pb', '--benchmark', '--labels=two.txt'], '--labels requires images or'),
    (2, ['--compare', 'colours.pb', '--graph_name=a'], '--graph_name requires --graph'),
    (2, ['--graph=colours.pb', '--session_config=i.png', '--threads=2', 'i.png'],
     '--threads has no effect with --session_config'),
    (2, ['--graph=colours.pb', '--image_size=32', '--input_width=32', 'i.png'],
     '--image_size and --crop_size cannot be combined with --input_width and --input_height'),
    (2, ['--graph=colours.pb', '--crop_size=24', 'i.png'], "without a node 'images'"),
    (2, ['--graph=colours.pb', '--input_mean=1', 'i.png'], 'receives pixels as they are'),
    (2, ['--graph=colours.pb', '--input_std=0', 'i.png'], 'must be a number above 0'),
    (2, ['--graph=colours.pb', '--feed=scale', 'i.png'], 'NAME=VALUE'),
    (1, ['--graph=colours.pb', '--feed=inputs=1', 'i.png'], 'is not a placeholder'),
    (2, ['--graph=colours.pb', '--image_size=28', 'i.png'], 'expects images of 32x32'),
    (1, ['--graph=none.pb', 'i.png'], 'No such file'),
    (1, ['--graph=.', 'i.png'], 'is a directory'),
    (1, ['--graph=empty.pb', 'i.png'], 'is empty'),
    (1, ['--graph=text.pb', 'i.png'], 'is a text file'),
    (1, ['--graph=image.pb', 'i.png'], 'is an image (PNG), which goes after the graph'),
    (1, ['--graph=model.onnx', '--runtime=tensorflow', 'i.png'], 'is an ONNX model'),
    (1, ['--graph=half.pb', 'i.png'], 'half.pb is not a complete frozen graph (GraphDef): '),
    (1, ['--graph=shape.pb', 'i.png'], '[N, 20, 30, 7], but only images'),
    (1, ['--graph=batch0.pb', '--benchmark'], '[0, 32, 32, 3], but only images'),
    (1, ['--graph=batch1000000000.pb', '--benchmark'],
     '[1000000000, 32, 32, 3], but at most 100000 images can be fed at a time'),
    (1, ['--graph=rgba.pb', 'i.png'], '[N, ?, ?, 4], but only images'),
    (1, ['--graph=scalar.pb', 'i.png'], 'not a row of floats for each'),
    (1, ['--graph=disconnected.pb', 'i.png'], "does not depend on 'images'"),
    (1, ['--graph=colours.pb', '--node=imagse', 'i.png'], "did you mean images?"),
    (1, ['--graph=colours.pb', '--output=prediction', 'i.png'], "did you mean predictions?"),
    (1, ['--graph=colours.pb', '--node=labels', '--output=labels', 'i.png'], 'has type string'),
    (1, ['--graph=colours.pb', '--node=labels', 'i.png'], "needs placeholder 'images' too"),
    (1, ['--graph=colours.pb', '--labels=two.txt', 'i.png'], '2 labels for 3 classes'),
    (1, ['--graph=colours.pb', '--labels=none.txt', 'i.png'], 'No such file'),
    (1, ['--graph=colours.pb', '--library=none.so', 'i.png'],
     'cannot load TensorFlow: ./none.so: cannot open shared object file'),
    (1, ['--graph=colours.pb', '--library=library.so', 'i.png'], 'library.so: file too short'),
    (1, ['--graph=colours.pb', '--library=.', 'i.png'], 'contains no TensorFlow library'),
    (1, ['--graph=colours.pb', '--library=' + LIBM, 'i.png'],
     'libm.so.6 is not a TensorFlow library: it has no TF_'),
    (1, ['--graph=colours.pb', 'none.png'], 'No such file'),
    (1, ['--graph=colours.pb', '.'], 'Is a directory'),
    (1, ['--graph=colours.pb', 'empty.png'], 'empty.png: the file is empty'),
    (1, ['--graph=colours.pb', 'gif.png'], 'not a PNG, JPEG or BMP'),
    (1, ['--graph=colours.pb', 'half.png'], 'truncated'),
    (1, ['--graph=colours.pb', 'half.jpg'], 'bad JPEG'),
    (1, ['--graph=colours.pb', 'half.bmp'], 'truncated'),
    (1, ['--graph=colours.pb', 'big.png'], '100 megapixels'),
    (1, ['--graph=colours.pb', 'big.jpg'], '100 megapixels'),
    (1, ['--graph=colours.pb', 'big.bmp'], '100 megapixels'),
    (1, ['--graph=colours.pb', '--batch_file=none.bin'], 'No such file'),
    (1, ['--graph=colours.pb', '--batch_file=odd.bin'], 'not whole records'),
    (1, ['--graph=colours.pb', '--batch_file=empty.bin'], 'not whole records'),
    (1, ['--graph=colours.pb', '--batch_file=label.bin'], 'label.bin: image 0 has the label 7'),
    (1, ['--graph=colours.pb', '--session_config=i.png', '--benchmark'], 'configuration'),
])
def test_mistakes_are_one_line(error_line, files, code, flags, message):
    def with_path(flag):
        name, equals, value = flag.rpartition('=')
        exists = value and os.path.exists(str(files / value))
        return name + equals + str(files / value) if exists else flag
    flags = [with_path(flag) for flag in flags]
    if not any(flag.startswith('--library') for flag in flags):
        flags.append(OWN)
    if flags[0] == '--graph' and len(flags) == 2:
        flags.reverse()
    assert message in error_line(code, *flags)


def test_output_that_cannot_be_written_is_an_error(graph, program):
    """More than a buffer: the write that fails is not the last."""
    flags = [PROGRAM, '--graph=' + graph, OWN, '--benchmark', '--json', '--runs=1', '--warmup=1',
             '--repeats=1000']
    with open('/dev/full', 'w') as full:
        process = subprocess.run(flags, stdout=full, stderr=subprocess.PIPE, timeout=570,
                                 universal_newlines=True)
    assert (process.returncode, process.stderr) == (1, 'label_image: cannot write to stdout\n')


def test_an_answer_is_not_lost_in_a_closed_output(graph, program, picture):
    """The first file that is opened has the number of stdout then."""
    process = execute('bash', '-c', '"$@" >&-', 'bash', PROGRAM, '--graph=' + graph, OWN, picture)
    assert (process.returncode, process.stderr) == (1, 'label_image: cannot write to stdout\n')


def test_crash_of_the_library_is_one_line(graph, program):
    process = subprocess.Popen([PROGRAM, '--graph=' + graph, OWN, '--benchmark', '--runs=1000000'],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               universal_newlines=True)
    maps = f'/proc/{process.pid}/maps'
    while not re.search(r'tensorflow.*\.so', open(maps).read()):  # the handler is installed before
        assert process.poll() is None
        time.sleep(.01)
    process.send_signal(signal.SIGABRT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1 and err.count('\n') == 1, err
    assert err.startswith(f'label_image: {graph}: TensorFlow crashed while ') and 'signal 6' in err


def test_a_crash_does_not_lose_the_images_before_it(graph, picture, program):
    process = subprocess.Popen(
        [PROGRAM, '--graph=' + graph, OWN, '--batch_size=1', str(picture), '/dev/stdin'],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        universal_newlines=True)
    ready, _, _ = select.select([process.stdout], [], [], 60)  # the second image does not come
    process.send_signal(signal.SIGABRT)
    out, err = process.communicate(timeout=60)
    assert ready and str(picture) in out and out.count('%') == 3
    assert process.returncode == 1 and ' crashed ' in err


@pytest.mark.parametrize('flag', ['--help', '-h'])
def test_help_lists_the_flags(program, flag):
    out = program(flag)
    assert '--batch_file TEXT' in out and '--standardize TEXT' in out and 'exit codes' in out
    assert '.onnx or .xml' in out and 'openvino (.xml)' in out
    assert out.count('default: 1 with --benchmark or --compare, else ') == 2


def test_a_crop_of_another_size_than_the_graph_says_is_refused(error_line, foreign_graph, picture):
    assert '24x24' in error_line(2, '--graph=' + foreign_graph, OWN, '--crop_size=28',
                                 '--standardize=per_image', picture)
