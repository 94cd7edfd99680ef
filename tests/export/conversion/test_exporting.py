"""Files of other formats: what is measured, written and refused."""

import hashlib
import json
import os

import numpy as np
import pytest

from permafrost.datasets import loading
from permafrost.errors import UserError
from permafrost.evaluation.runtimes import client
from permafrost.export import formats, freeze
from permafrost.export.conversion import converters, exporting
from tests.evaluation.runtimes.environments import needs
from tests.export.helpers import logits_of

INT8 = formats.targets(['tflite'], ['int8'])


@pytest.mark.slow
@needs(*formats.FORMATS['tflite'].environments)
def test_files_and_descriptions_of_a_frozen_run(normed_run, synthetic, tmp_path, capsys):
    file, output = str(tmp_path / 'normed.pb'), str(tmp_path / 'new' / 'net.pb')
    frozen = freeze.freeze(normed_run, None, output=file)
    targets = formats.targets(['tflite', 'saved_model'], ['none', 'int8'])
    results = exporting.export(file, targets, synthetic, None, output=output)
    printed = capsys.readouterr().out
    images, labels = loading.load(synthetic, 'test')
    for target, result in zip(targets, results):
        path = target.path(output)
        with open(path + '.json') as stream:
            assert json.load(stream) == result
        assert result['images'] == len(images) and 0.9 < result['agreement'] <= 1
        assert result['accuracy'] == result['correct'] / len(images)
        assert abs(result['correct'] - frozen['correct']) <= (5 if target.quantize == 'int8' else 0)
        for field in 'macs', 'ops', 'params', 'classes', 'model':
            assert result[field] == frozen[field], field
        assert result['source'] == {'file': 'normed.pb', 'sha256': frozen['sha256']}
        assert (result['calibration'] is not None) == (target.quantize == 'int8')
        assert f'{path}, {result["bytes"]} bytes' in printed
        if os.path.isfile(path):
            with open(path, 'rb') as stream:
                content = stream.read()
            assert result['bytes'] == len(content) > result['gzip_bytes']
            assert result['sha256'] == hashlib.sha256(content).hexdigest()


@pytest.fixture
def lossy(monkeypatch):
    """A converter and a runtime that answers class 0 for every image."""
    class Child:
        version = '1.0'
        __enter__ = __exit__ = lambda *unused: None

    def convert(format, graph, output, quantize, calibration, labels, path, child):
        with open(output, 'wb') as stream:
            stream.write(quantize.encode())
        assert calibration.dtype == np.uint8 and calibration.shape[1:] == (32, 32, 3)
        return child and child.version
    monkeypatch.setattr(converters, 'start', lambda format: Child())
    monkeypatch.setattr(client, 'runtime', lambda name: Child())
    monkeypatch.setattr(converters, 'convert', convert)
    monkeypatch.setattr(exporting.Exporter, '_child', lambda self, name, start: start())
    monkeypatch.setattr(client, 'predict',
                        lambda child, path, images: np.eye(10)[np.zeros(len(images), int)])


def test_a_file_that_loses_accuracy_is_not_written(file, synthetic, tmp_path, lossy):
    output = str(tmp_path / 'net.pb')
    images, labels = loading.load(synthetic, 'test')
    right = int((logits_of(file, images).argmax(1) == labels).sum())
    loss = 100 * (right - int((labels == 0).sum())) / len(labels)
    with pytest.raises(UserError) as error:
        exporting.export(file, INT8, synthetic, None, 1., output)
    assert str(error.value).startswith(
        f'not written: {tmp_path}/net.int8.tflite loses {loss:.2f} percentage points of accuracy, '
        'more than --max_loss 1: allow it with --max_loss, or train')
    assert os.listdir(str(tmp_path)) == []
    result, = exporting.export(file, INT8, synthetic, None, loss + 0.01, output)
    assert result['correct'] == (labels == 0).sum()
    assert sorted(os.listdir(str(tmp_path))) == ['net.int8.tflite', 'net.int8.tflite.json']


def test_the_others_are_tried_if_one_fails(file, synthetic, tmp_path, lossy, monkeypatch):
    convert = converters.convert

    def fail_once(format, graph, output, quantize, **options):
        if quantize == 'none':
            raise UserError('tflite lacks an operation')
        return convert(format, graph, output, quantize, **options)
    monkeypatch.setattr(converters, 'convert', fail_once)
    both = [*formats.targets(['tflite'], ['none']), *INT8]
    with pytest.raises(UserError, match='not written: .*net.int8.tflite.*; tflite lacks|'
                                        'tflite lacks an operation; not written: .*int8'):
        exporting.export(file, both, synthetic, None, 1., str(tmp_path / 'net.pb'))
    with pytest.raises(UserError, match='^tflite lacks an operation$'):
        exporting.export(file, both, synthetic, None, 100., str(tmp_path / 'net.pb'))
    assert 'net.int8.tflite' in os.listdir(str(tmp_path))


def test_a_child_that_has_crashed_is_replaced():
    """So that the next file is tried."""
    class Child:
        is_running = True
        __enter__ = lambda self: self  # noqa: E731
        __exit__ = lambda *unused: None  # noqa: E731
    with exporting.Exporter(None, None) as exporter:
        first = exporter._child('tflite', Child)
        assert exporter._child('tflite', Child) is first
        first.is_running = False
        second = exporter._child('tflite', Child)
        assert second is not first and exporter._child('tflite', Child) is second


def test_the_files_of_c_have_one_name(file, synthetic, tmp_path, monkeypatch, capsys):
    """One that #include can have. The line names a file that is there."""
    monkeypatch.setattr(exporting.tflm, 'convert', lambda source, path, session_config: (
        {path + '.h': b'h', path + '.cc': b'c'}, b'model', source.predicted,
        {'runtime': {'name': 'tflite-micro', 'version': '1'}}))
    exporting.export(file, formats.targets(['tflm'], ['none']), synthetic, None,
                     output=str(tmp_path / 'my net.pb'))
    names = ['my_net.tflm.cc', 'my_net.tflm.h', 'my_net.tflm.json']
    assert sorted(os.listdir(str(tmp_path))) == names
    line = capsys.readouterr().out
    assert line.startswith(f'tflm: {tmp_path}/my_net.tflm.cc, 5 bytes: ')
    assert 'same class as the frozen graph for 100.00 % of the images (tflite-micro 1)' in line


def test_without_test_images_the_accuracy_is_unknown(file, synthetic, tmp_path, lossy):
    data = synthetic._replace(counts=dict(synthetic.counts, test=0))
    with pytest.raises(UserError, match='changes the class of [0-9.]+ % of the training images, '
                                        'more than --max_loss 1'):
        exporting.export(file, INT8, data, None, 1., str(tmp_path / 'net.pb'))
    assert os.listdir(str(tmp_path)) == []
    result, = exporting.export(file, INT8, data, None, 100., str(tmp_path / 'net.pb'))
    assert (result['images'], result['accuracy'], result['correct']) == (0, None, None)
    assert 0 <= result['agreement'] < 1 and result['agreement_of'] == 'training images'


def test_a_file_that_cannot_be_written_does_not_keep_the_others_from_it(
        file, synthetic, tmp_path, lossy):
    (tmp_path / 'net.int8.tflite.json').mkdir()
    both = formats.targets(['tflite', 'onnx'], ['int8'])
    with pytest.raises(UserError, match='^cannot write .*net.int8.tflite'):
        exporting.export(file, both, synthetic, None, 100., str(tmp_path / 'net.pb'))
    assert 'net.int8.onnx' in os.listdir(str(tmp_path))
