"""Models of other runtimes: the same images, answers and counts as with TensorFlow.

The models in label_image/fuzz/corpus/colours.* are the network of program.colours(), converted by
permafrost.export.conversion.converters.
"""

import json
import os
import re
import shutil
import subprocess

import numpy as np
import PIL.Image
import pytest

from permafrost import machine
from tests.label_image.program import (
    FOLDER,
    LABELS,
    OWN,
    PROGRAM,
    ROOT,
    evaluate,
    execute,
    expected,
    noise,
)

# By runtime: the suffix of a model that it runs, and the name that it prints.
RUNTIMES = {'litert': ('.tflite', 'LiteRT'), 'onnxruntime': ('.onnx', 'ONNX Runtime'),
            'openvino': ('.onnx', 'OpenVINO')}


def library(runtime):
    folder = os.path.join(ROOT, '.venv', runtime)
    if not os.path.exists(folder):
        pytest.skip(f'needs .venv/{runtime}: tools/setup.sh {runtime} builds it')
    return '--library=' + folder


def field(number, value):
    """Return a field of a protobuf message: a number or bytes."""
    def varint(rest):
        return bytes([rest & 127 | 128]) + varint(rest >> 7) if rest > 127 else bytes([rest])
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def model(suffix):
    return os.path.join(FOLDER, 'fuzz', 'corpus', 'colours' + suffix)


@pytest.mark.parametrize('runtime', RUNTIMES)
def test_probabilities_and_labels(program, picture, runtime):
    suffix, name = RUNTIMES[runtime]
    answer = json.loads(program('--graph', model(suffix), library(runtime), '--runtime', runtime,
                                '--json', picture))
    assert (answer['runtime'], answer['precision']) == (name, 'float32')
    assert answer['version'][0].isdigit()
    assert (answer['node'], answer['output'], answer['output_kind']) == (
        'images', 'predictions', 'logits')
    probabilities = {top['label']: top['probability'] for top in answer['images'][0]['top']}
    assert probabilities == pytest.approx(expected(noise(32, 32)), abs=1e-5)


def test_the_newest_of_several_versions_is_loaded(error_line, picture, tmp_path):
    for version in ('1.9.0', '1.11.0', '1.10.3'):
        (tmp_path / f'libonnxruntime.so.{version}').touch()
    line = error_line(1, '--graph', model('.onnx'), '--library', tmp_path, picture)
    assert str(tmp_path / 'libonnxruntime.so.1.11.0') in line


@pytest.mark.parametrize('suffix', ['.pb', '.tflite'])
def test_openvino_runs_files_of_other_runtimes(program, graph, picture, suffix):
    path = graph if suffix == '.pb' else model(suffix)
    lines = program('--graph', path, library('openvino'), '--runtime=openvino',
                    picture).splitlines()
    assert lines[1].startswith('runtime: OpenVINO ')
    want = max(expected(noise(32, 32)).items(), key=lambda item: item[1])
    assert lines[3].split() == [f'{100 * want[1]:.2f}', '%', want[0]]


@pytest.mark.parametrize('runtime', RUNTIMES)
def test_graph_name_is_for_answers_alone(program, picture, runtime):
    answer = json.loads(program('--graph', model(RUNTIMES[runtime][0]), library(runtime),
                                '--runtime', runtime, '--graph_name=other', '--json', picture))
    assert answer['graph'] == 'other'


@pytest.mark.parametrize('runtime', RUNTIMES)
def test_batches_of_any_size(program, graph, tmp_path, runtime):
    """Seven images, three at a time: the last batch has another size."""
    random = np.random.RandomState(1)
    records = random.randint(0, 256, (7, 3073)).astype(np.uint8)
    records[:, 0] = random.randint(0, 3, 7)
    path = tmp_path / 'batch.bin'
    path.write_bytes(records.tobytes())
    flags = ['--batch_size=3', '--threads=2']
    suffix, _ = RUNTIMES[runtime]
    want, probabilities = evaluate(program, graph, path, tmp_path, OWN, *flags)
    answer, got = evaluate(program, model(suffix), path, tmp_path, library(runtime),
                           '--runtime=' + runtime, *flags)
    assert answer['confusion'] == want['confusion'] and answer['labels'] == LABELS
    np.testing.assert_allclose(got, probabilities, atol=1e-5)


def test_suffix_chooses_the_runtime(program, picture):
    """With several libraries, each runtime finds its own."""
    libraries = [library('onnxruntime'), library('litert'), OWN]
    for runtime in ('litert', 'onnxruntime'):
        suffix, name = RUNTIMES[runtime]
        answer = json.loads(program('--graph', model(suffix), *libraries, '--benchmark',
                                    '--json', '--runs=2', '--repeats=1'))
        assert answer['runtime'] == name and answer['latency_ms']['min'] > 0
        assert answer['input_shape'] == [1, 32, 32, 3] and answer['peak_rss_mb'] > 5


def test_the_answer_says_how_a_foreign_model_is_fed(program, tmp_path):
    """A model with other names and no json, as with a frozen graph of others."""
    onnx_model = tmp_path / 'other.onnx'
    with open(model('.onnx'), 'rb') as stream:
        content = stream.read()
    # Equal length: names are fields with a length.
    onnx_model.write_bytes(content.replace(b'images', b'photos').replace(
        b'predictions', b'likelihoods'))
    picture = tmp_path / 'red.png'
    PIL.Image.new('RGB', (50, 40), (200, 10, 20)).save(str(picture))
    lines = program('--graph', onnx_model, library('onnxruntime'), picture).splitlines()
    assert lines[1].startswith('input: photos, uint8 [N, 32, 32, 3]')
    assert lines[2].startswith('output: likelihoods, logits')
    assert lines[4].split()[-1] == 'red'


# y = mean * weights; the weights, 3 x 100, are in the file model.data.
EXTERNAL = """
import sys
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
weights = numpy_helper.from_array(np.arange(300, dtype=np.float32).reshape(3, 100), 'weights')
nodes = [helper.make_node('ReduceMean', ['x'], ['mean'], axes=[1, 2], keepdims=0),
         helper.make_node('MatMul', ['mean', 'weights'], ['y'])]
x = helper.make_tensor_value_info('x', TensorProto.FLOAT, ['N', 8, 8, 3])
y = helper.make_tensor_value_info('y', TensorProto.FLOAT, ['N', 100])
model = helper.make_model(helper.make_graph(nodes, 'g', [x], [y], [weights]), ir_version=8,
                          opset_imports=[helper.make_opsetid('', 13)])
onnx.save(model, sys.argv[1], save_as_external_data=True, location='model.data', size_threshold=0)
"""


def test_weights_in_another_file_are_those_next_to_the_model(program, picture, tmp_path):
    """Not those in the current directory."""
    here, there = tmp_path / 'here', tmp_path / 'there'
    here.mkdir(), there.mkdir()
    flags = ['--graph', there / 'a.onnx', library('onnxruntime'), '--output_kind=raw', '--top=1']
    subprocess.check_call([os.path.join(ROOT, '.venv', 'onnxruntime', 'bin', 'python'), '-c',
                           EXTERNAL, there / 'a.onnx'])
    size = os.path.getsize(str(there / 'model.data'))
    (here / 'model.data').write_bytes(bytes(size))
    expected = program(*flags, picture)
    assert subprocess.check_output([PROGRAM, *flags, picture], universal_newlines=True,
                                   cwd=str(here)) == expected
    assert expected.splitlines()[-1].split()[-1] == '99'  # with zeros it would be 0


def test_mistakes_are_one_line(error_line, graph, picture, tmp_path):
    assert 'must be one of tensorflow, litert, onnxruntime, openvino' in error_line(
        2, '--graph', graph, '--runtime=tflite', picture)
    assert 'is not a TensorFlow Lite model' in error_line(
        1, '--graph', graph, '--runtime=litert', picture)
    assert 'is not an ONNX model: it is a TensorFlow Lite model' in error_line(
        1, '--graph', model('.tflite'), '--runtime=onnxruntime', picture)
    assert 'bfloat16 is for the runtimes tensorflow and openvino' in error_line(
        2, '--graph', model('.onnx'), '--precision=bfloat16', picture)
    assert '--precision must be float32 or bfloat16' in error_line(
        2, '--graph', graph, '--precision=int8', picture)
    assert '--profile is for the runtime tensorflow' in error_line(
        2, '--graph', model('.tflite'), '--benchmark', '--profile')
    assert 'contains no LiteRT library' in error_line(
        1, '--graph', model('.tflite'), '--library', tmp_path, picture)
    assert "no 'x' for --output (candidates: predictions)" in error_line(
        1, '--graph', model('.onnx'), library('onnxruntime'), '--output=x', picture)


@pytest.mark.parametrize('runtime', RUNTIMES)
def test_nodes_may_have_the_names_of_tensors(program, picture, runtime):
    answer = json.loads(program('--graph', model(RUNTIMES[runtime][0]), library(runtime),
                                '--runtime', runtime, '--node=images:0', '--output=predictions:0',
                                '--json', picture))
    assert answer['output'].endswith('predictions') or answer['output'].endswith('predictions:0')


@pytest.mark.parametrize('runtime', RUNTIMES)
def test_damaged_models_are_one_line(error_line, tmp_path, picture, runtime):
    suffix, name = RUNTIMES[runtime]
    path = str(tmp_path / ('short' + suffix))
    shutil.copy(model(suffix), path)
    with open(path, 'r+b') as stream:
        stream.truncate(200)
    line = error_line(1, '--graph', path, library(runtime), '--runtime=' + runtime, picture)
    assert name in line and line.count(path) == 1, line


def test_a_damaged_onnx_file_is_named(error_line, tmp_path, picture):
    """ONNX Runtime ignores a group in it, which this program does not read."""
    path = tmp_path / 'a.onnx'
    with open(model('.onnx'), 'rb') as stream:
        path.write_bytes(stream.read() + b'\xa3\6\xa4\6')
    line = error_line(1, '--graph', path, library('onnxruntime'), picture)
    assert line == f'label_image: {path}: a field has an invalid type\n'


@pytest.mark.parametrize('runtime', ['onnxruntime', 'openvino'])
@pytest.mark.parametrize('kind, name', [(3, 'int8'), (5, 'unknown')])
def test_the_type_of_an_input_is_named(error_line, tmp_path, picture, runtime, kind, name):
    path = tmp_path / 'a.onnx'
    with open(model('.onnx'), 'rb') as stream:
        content, count = re.subn(rb'(images\x12.\n.\x08)\x02', rb'\g<1>' + bytes([kind]),
                                 stream.read(), flags=re.DOTALL)
    assert count == 1
    path.write_bytes(content)
    line = error_line(1, '--graph', path, library(runtime), '--runtime', runtime, picture)
    assert line == (f"label_image: {path}: node 'images' has type {name}, but only uint8 images "
                    'and floats can be fed: convert the model with a uint8 or float input\n')


# The number of the type in the file; '' if LiteRT runs the model.
@pytest.mark.parametrize('kind, message', [
    (7, ''), (8, ''), (15, ''), (16, ''), (17, ''), (18, ''), (19, ''),
    (12, 'cannot run the model'), (5, 'has a tensor of type string'),
    (13, "of LiteRT's type number 14, which is not known")])
def test_another_output_may_have_any_type(program, error_line, tmp_path, kind, message):
    """two_outputs.tflite was converted from x -> {'other': cast(x, int16), 'predictions': mean}."""
    path = tmp_path / 'a.tflite'
    with open(os.path.join(os.path.dirname(__file__), 'two_outputs.tflite'), 'rb') as stream:
        content = bytearray(stream.read())
    assert content[839] == 7  # the type of `other`: int16
    content[839] = kind
    path.write_bytes(content)
    flags = ['--graph', path, library('litert'), '--output=predictions', '--benchmark', '--runs=2',
             '--repeats=1']
    if not message:
        assert 'images/s' in program(*flags)
    else:
        line = error_line(1, *flags)
        assert message in line and line.startswith(f'label_image: {path}: ')


@pytest.mark.parametrize('runtime', ['litert', 'openvino'])
def test_a_batch_size_in_the_middle_of_a_model_is_kept(program, tmp_path, runtime):
    """one_image.tflite was converted from mean(reshape(x, [1, -1, 3])), with x [1, 32, 32, 3].

    Fed two images, it returns the mean of both.
    """
    path = os.path.join(os.path.dirname(__file__), 'one_image.tflite')
    records = [bytes([label]) + bytes(1024 * label) + b'\xff' * 1024 + bytes(1024 * (2 - label))
               for label in (0, 2)]
    (tmp_path / 'batch.bin').write_bytes(b''.join(records))
    out = program('--graph', path, library(runtime), '--runtime', runtime, '--output_kind=raw',
                  '--batch_file', tmp_path / 'batch.bin')
    assert 'float32 [1, 32, 32, 3]' in out and '\n2 of 2 images correct' in out


def test_peak_memory_is_that_of_the_program(program):
    """Not that of the process that starts it, which counts in ru_maxrss."""
    ballast = bytearray(b'x') * (400 << 20)
    answer = json.loads(program('--graph', model('.tflite'), library('litert'), '--benchmark',
                                '--json', '--runs=2', '--repeats=1'))
    assert 5 < answer['peak_rss_mb'] < len(ballast) >> 21


def test_a_model_is_in_memory_once(program, tmp_path):
    """LiteRT reads the weights where this program has read them."""
    path = tmp_path / 'a.tflite'
    with open(model('.tflite'), 'rb') as stream:
        path.write_bytes(stream.read() + bytes(100 << 20))
    small, large = (json.loads(program('--graph', each, library('litert'), '--benchmark', '--json',
                                       '--runs=2', '--repeats=1'))['peak_rss_mb']
                    for each in (model('.tflite'), path))
    assert large < small + 150


@pytest.mark.parametrize('runtime', ['onnxruntime', 'openvino'])
def test_a_runtime_that_reads_the_file_itself_finds_no_copy_in_memory(program, tmp_path, runtime):
    """The larger model has 100 MB of weights, of which the runtime may make two copies."""
    path, count = tmp_path / 'a.onnx', 25000000
    tensor = (field(1, count) + field(2, 1) + field(8, b'unused') +  # dims, float, name, raw_data
              field(9, bytes(4 * count)))
    with open(model('.onnx'), 'rb') as stream:
        path.write_bytes(stream.read() + field(7, field(5, tensor)))  # the graph's initializer
    small, large = (json.loads(program(
        '--graph', each, library(runtime), '--runtime', runtime, '--benchmark', '--json',
        '--runs=2', '--repeats=1'))['peak_rss_mb'] for each in (model('.onnx'), path))
    assert large < small + 225


@pytest.mark.parametrize('runtime', ['tensorflow', 'openvino'])
def test_bfloat16(program, graph, picture, runtime):
    """The answer says it, or one line refuses it where the processor lacks it."""
    own = library('openvino') if runtime == 'openvino' else OWN
    process = execute(PROGRAM, '--graph', graph, own, '--runtime', runtime,
                      '--precision=bfloat16', picture)
    features = f"{machine.cpu_info('flags')} {machine.cpu_info('Features')}".split()
    if {'avx512_bf16', 'bf16'} & set(features):
        assert process.stdout.splitlines()[1].endswith(', bfloat16'), process.stderr
    else:
        assert process.stderr == (
            'error: this processor has no bfloat16 instructions: leave --precision bfloat16 out\n')
