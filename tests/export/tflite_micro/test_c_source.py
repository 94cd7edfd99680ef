"""The C source: compiled, and its functions called."""

import ctypes
import subprocess

import numpy as np
import pytest

from permafrost.export.tflite_micro import c_source, preprocessing

IMAGES = np.random.RandomState(1).randint(0, 256, (6, 12, 10, 3)).astype(np.uint8)
IMAGES[1] = 200
IMAGES[2] = IMAGES[2] // 64 + 30
SHAPES = (12, 10, 3), (8, 7, 3)
PER_CHANNEL = preprocessing.PerChannel(
    *SHAPES, np.full((8, 7, 3), [-2., -1.9, -1.7]), np.full((8, 7, 3), [2., 2.1, 2.2]))
PER_IMAGE = preprocessing.PerImage(*SHAPES)
CLASSES = ['cat', 'd\u00f6g "?\\?/??=', '\n*/ #include', '7"3', '\udcff']
FACTS = {'arena_bytes': 4096, 'ops': ['CONV_2D', 'MEAN'],
         'input': {'scale': 0.0201234, 'zero_point': -5},
         'output': {'shape': [1, 5], 'scale': 0.125, 'zero_point': -128}}


def model(before=PER_CHANNEL, name='net', classes=tuple(CLASSES)):
    content = bytes(range(256)) * 3 + b'end'
    return c_source.Model(name, 'net.tflm', content, 'a' * 64, FACTS, classes, before)


@pytest.fixture(scope='module', params=[PER_CHANNEL, PER_IMAGE], ids=lambda each: each.name)
def before(request):
    return request.param


@pytest.fixture(scope='module')
def library(before, tmp_path_factory):
    folder = write(model(before), tmp_path_factory.mktemp('c'))
    path = folder / 'net.so'
    subprocess.check_call(['cc', '-x', 'c', '-std=c99', '-shared', '-fPIC', '-ffp-contract=off',
                           '-o', path, folder / 'net.tflm.cc', '-lm'])
    return ctypes.CDLL(str(path))


def write(value, folder):
    (folder / 'net.tflm.h').write_text(c_source.header(value))
    (folder / 'net.tflm.cc').write_text(c_source.source(value))
    return folder


def test_preprocessing_is_that_of_the_graph(library, before):
    for image in IMAGES:
        result = np.zeros(before.input_shape, np.int8)
        library.net_preprocess(image.ctypes.data_as(ctypes.c_void_p),
                               result.ctypes.data_as(ctypes.c_void_p))
        expected = before.quantize(before.apply(image[None])[0], 0.0201234, -5)
        wrong = result.astype(int) - expected
        if before is PER_CHANNEL:  # a table
            assert not wrong.any()
        else:  # floats may round the other way
            assert np.abs(wrong).max() <= 1 and np.mean(wrong != 0) < 0.01
    assert len(np.unique(result)) > 100


def test_the_model_and_the_labels_are_in_it(library):
    value = model()
    stored = (ctypes.c_ubyte * len(value.content)).in_dll(library, 'net_model')
    assert bytes(stored) == value.content
    assert ctypes.addressof(stored) % 16 == 0
    labels = (ctypes.c_char_p * len(CLASSES)).in_dll(library, 'net_labels')
    assert list(labels) == [name.encode('utf-8', 'surrogateescape') for name in CLASSES]


def test_classes_without_names_are_numbers():
    unnamed = model(classes=())
    assert '#define NET_CLASSES 5\n' in c_source.header(unnamed)
    text = c_source.source(unnamed)
    assert 'net_labels[5] = {\n    "0",\n    "1",' in text and 'i < 5;' in text


def test_best_is_the_first_largest_output(library):
    for outputs in ([1, 5, -7, 5, 0], [-128] * 5, [-3, -2, -1, -100, -128], [0, 0, 0, 0, 127]):
        array = np.array(outputs, np.int8)
        assert library.net_best(array.ctypes.data_as(ctypes.c_void_p)) == array.argmax()


@pytest.mark.parametrize('compiler', ['c++ -std=c++11', 'cc -x c -std=c99', 'cc -x c -std=c11'])
def test_compilers_have_no_complaint(compiler, before, tmp_path):
    write(model(before), tmp_path)
    subprocess.check_call([*compiler.split(), '-Wall', '-Wextra', '-Wconversion', '-pedantic',
                           '-Werror', '-c', '-o', tmp_path / 'net.o', tmp_path / 'net.tflm.cc'])


def test_the_header_works_with_the_resolver_of_tensorflow_lite_micro(tmp_path):
    """A resolver as in micro_mutable_op_resolver.h, of which only these methods are called."""
    write(model(), tmp_path)
    (tmp_path / 'main.cc').write_text('''
        #include <cstdio>
        #include "net.tflm.h"
        struct Resolver { void AddConv2D() { puts("conv"); } void AddMean() { puts("mean"); } };
        int main() {
          Resolver resolver;
          NET_ADD_OPS(resolver);
          printf("%d %d %.3f %d\\n", NET_ARENA_BYTES, NET_OPS,
                 (-120 - NET_OUTPUT_ZERO_POINT) * NET_OUTPUT_SCALE, NET_CLASSES);
        }''')
    subprocess.check_call(['c++', '-o', tmp_path / 'main', tmp_path / 'main.cc',
                           tmp_path / 'net.tflm.cc'])
    output = subprocess.check_output([tmp_path / 'main'], universal_newlines=True)
    assert output.split() == ['conv', 'mean', '4096', '2', '1.000', '5']


@pytest.mark.parametrize('op, method', [
    ('CONV_2D', 'AddConv2D'), ('DEPTHWISE_CONV_2D', 'AddDepthwiseConv2D'), ('PAD', 'AddPad'),
    ('MAX_POOL_2D', 'AddMaxPool2D'), ('AVERAGE_POOL_2D', 'AddAveragePool2D'), ('ADD', 'AddAdd'),
    ('FULLY_CONNECTED', 'AddFullyConnected'), ('STRIDED_SLICE', 'AddStridedSlice'),
    ('CONCATENATION', 'AddConcatenation'), ('LOGISTIC', 'AddLogistic'), ('MUL', 'AddMul')])
def test_operations_have_the_names_of_the_resolver(op, method):
    assert c_source.add_method(op) == method


def test_any_file_name_becomes_an_identifier():
    assert c_source.identifier('squeeze1') == 'squeeze1'
    assert c_source.identifier('a b-\u00e9*/') == 'a_b____'
    assert c_source.identifier('7net') == 'model_7net'
    assert c_source.identifier('') == 'model_'
