"""Models of other runtimes: the same images, answers and counts as with TensorFlow.

The models in label_image/fuzz/corpus/colours.* are the network of program.colours(), converted by
permafrost.export.conversion.converters.
"""

import json
import os
import shutil

import numpy as np
import PIL.Image
import pytest

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
def test_damaged_models_are_one_line(error_line, tmp_path, picture, runtime):
    suffix, name = RUNTIMES[runtime]
    path = str(tmp_path / ('short' + suffix))
    shutil.copy(model(suffix), path)
    with open(path, 'r+b') as stream:
        stream.truncate(200)
    line = error_line(1, '--graph', path, library(runtime), '--runtime=' + runtime, picture)
    assert name in line, line


@pytest.mark.parametrize('runtime', ['tensorflow', 'openvino'])
def test_bfloat16(program, graph, picture, runtime):
    """Either the processor has it, and the answer says it, or one line refuses it."""
    own = library('openvino') if runtime == 'openvino' else OWN
    process = execute(PROGRAM, '--graph', graph, own, '--runtime', runtime,
                      '--precision=bfloat16', picture)
    if process.returncode:
        assert process.stderr.count('\n') == 1 and 'bfloat16' in process.stderr
    else:
        assert process.stdout.splitlines()[1].endswith(', bfloat16')
