"""The formats of exported files: their names, and what may be combined."""

import os

import pytest

from permafrost.errors import UsageError
from permafrost.evaluation.runtimes import client
from permafrost.export import formats
from tests.processes import ROOT


def paths(names, quantize=('none',)):
    return [target.path('a/net.pb') for target in formats.targets(names, quantize)]


def test_each_file_has_its_name():
    assert paths(['pb']) == []  # the frozen graph itself is no target
    assert paths(['onnx', 'pb', 'tflite']) == ['a/net.tflite', 'a/net.onnx']
    assert paths(['tflite', 'saved_model'], ['int8', 'none']) == [
        'a/net.saved_model', 'a/net.tflite', 'a/net.int8.tflite']
    assert paths(['onnx'], ['float16']) == ['a/net.float16.onnx']
    assert paths(['tflm', 'tflite']) == ['a/net.tflite', 'a/net.tflm']  # always int8
    assert formats.Target('tflm', 'int8').path('a b/net-1 "\u00e9.pb') == 'a b/net-1___.tflm'


@pytest.mark.parametrize('names, quantize, message', [
    (['tflit'], ['none'], "unknown format 'tflit'; did you mean tflite?"),
    (['pb'], ['int4'], "unknown quantization 'int4'"),
    (['pb', 'saved_model'], ['int8'],
     '--quantize int8 is for tflite and onnx: add e.g. --formats pb,tflite'),
    (['pb', 'tflm'], ['float16'], '--quantize float16 is for tflite and onnx')])
def test_a_wrong_choice_is_refused(names, quantize, message):
    with pytest.raises(UsageError) as error:
        formats.targets(names, quantize)
    assert message in str(error.value)


def test_every_format_names_environments_and_runtimes_that_exist():
    for name, each in formats.FORMATS.items():
        assert set(each.quantize) <= set(formats.QUANTIZE), name
        assert not each.runtime or each.runtime in client.RUNTIMES, name
        for environment in each.environments:
            path = os.path.join(ROOT, 'requirements', environment + '.txt')
            assert os.path.exists(path), name
    assert {each.runtime for each in formats.FORMATS.values()} - {''} == set(
        client.RUNTIME_OF.values())
