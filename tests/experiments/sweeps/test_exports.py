"""Variants that are another file of a training: which they are, and what is known of them."""

import hashlib
import json

import pytest

from permafrost.errors import UsageError
from permafrost.experiments.sweeps import exports, variants
from permafrost.experiments.sweeps.study import Study
from tests.experiments.sweeps import helpers

VARIANTS = {'int8': {'export': 'int8.tflite'}, 'smooth': {'label_smoothing': 0.2},
            'smooth_onnx': {'label_smoothing': 0.2, 'export': 'onnx'},
            'slow_half': {'learning_rate': 0.01, 'export': 'float16.tflite'}}


def test_the_names_are_the_suffixes_of_the_files_that_label_image_runs():
    assert sorted(exports.TARGETS) == ['float16.onnx', 'float16.tflite', 'int8.onnx', 'int8.tflite',
                                       'onnx', 'tflite']
    assert exports.path_of('a/b.pb', 'int8.tflite') == 'a/b.int8.tflite'
    assert exports.path_of('a/b.pb', '') == 'a/b.pb'


def test_variants_that_train_the_same_have_one_training(synthetic, tmp_path):
    """That of the first of them, which may be an export itself."""
    study = Study(variants=VARIANTS, vary={'export': ('tflite',)}).check()
    assert exports.has_any(study) and not exports.has_any(Study(vary={'momentum': ('0.1',)}))
    assert exports.of_trainings(study.base, variants.variants_of(study)) == {
        'baseline': [('baseline', ''), ('export=tflite', 'tflite'), ('int8', 'int8.tflite')],
        'smooth': [('smooth', ''), ('smooth_onnx', 'onnx')],
        'slow_half': [('slow_half', 'float16.tflite')]}
    folder = tmp_path / 'study'
    folder.mkdir()
    (folder / 'study.json').write_text(json.dumps({'variants': VARIANTS}))
    planned = helpers.planned_runs(folder, *helpers.data_flags(synthetic))
    assert [run.variant for run in planned] == ['baseline', 'smooth', 'slow_half']
    assert not any('export' in argument for run in planned for argument in run.arguments)


@pytest.mark.parametrize('base, settings', [
    ({'sparsity': 0.8}, {'sparsity': 0.8}), ({'sparsity': '0.80'}, {'sparsity': 0.8}),
    ({'learning_rate': '1/64'}, {'learning_rate': 0.015625}), ({}, {'sparsity': 0}),
    ({'recipe': 'plain'}, {'recipe': 'plain', 'batch_size': 32}), ({}, {'source': 'memory'}),
    ({}, {'deterministic': False, 'model': 'lenet5'}), ({'patience': '3'}, {'patience': 3})])
def test_an_export_that_repeats_the_base_shares_its_training(synthetic, tmp_path, base, settings):
    """As in the plan of the sweep, which compares the values, not how they are written."""
    base = {'model': 'lenet5', 'steps': 20, 'batch_size': 32, 'dataset': 'synthetic',
            'data_dir': str(synthetic.directory), 'validation': 100, **base}
    value = {'base': base, 'variants': {
        'other': {'learning_rate': 0.9}, 'int8': {**settings, 'export': 'int8.tflite'}}}
    (tmp_path / 'study.json').write_text(json.dumps(value))
    planned = helpers.planned_runs(tmp_path)
    the_study = Study(**value).check()
    trainings = exports.of_trainings(the_study.base, variants.variants_of(the_study))
    assert [run.variant for run in planned] == list(trainings) == ['baseline', 'other']
    assert trainings['baseline'] == [('baseline', ''), ('int8', 'int8.tflite')]


@pytest.mark.parametrize('settings', [
    {'sparsity': 0.8}, {'recipe': 'gone.json'}, {'validation': 50}, {'model': 'nonesuch'}])
def test_an_export_of_other_settings_has_a_training(settings):
    study = Study(variants={'a': {**settings, 'export': 'onnx'}}).check()
    assert list(exports.of_trainings(study.base, variants.variants_of(study))) == ['baseline', 'a']


@pytest.mark.parametrize('study, message', [
    (Study(variants={'a': {'export': 'int8'}}), "unknown export 'int8'.*int8.onnx"),
    (Study(vary={'export': ('pb',)}), "unknown export 'pb'"),
    (Study(base={'export': 'tflite'}), "unknown setting 'export'"),
    (Study(vary={'export': ('tflite',)}, method='search', count=3), 'leave export out'),
    (Study(variants={'a': {'export': 3}}), "unknown export '3'")])
def test_wrong_exports_are_refused(study, message):
    with pytest.raises(UsageError, match=message):
        study.check()


def test_a_file_of_an_earlier_graph_is_not_read(tmp_path):
    frozen = tmp_path / 'tiny.pb'
    frozen.write_bytes(b'graph')
    value = {'source': {'file': 'tiny.pb', 'sha256': hashlib.sha256(b'graph').hexdigest()},
             'accuracy': 0.5, 'images': 500, 'bytes': 9, 'gzip_bytes': 8, 'format': 'tflite'}
    description = tmp_path / 'tiny.int8.tflite.json'
    description.write_text(json.dumps(value))
    assert exports.read(str(frozen), 'int8.tflite') is None  # the file itself is missing
    (tmp_path / 'tiny.int8.tflite').write_bytes(b'flatbuffer')
    assert exports.read(str(frozen), 'int8.tflite')['accuracy'] == 0.5
    assert exports.read(str(frozen), 'tflite') is None
    frozen.write_bytes(b'another')
    assert exports.read(str(frozen), 'int8.tflite') is None
    description.write_text(json.dumps(dict(value, source={})))
    assert exports.read(str(frozen), 'int8.tflite') is None
    description.write_text('{"accuracy": 2}')
    assert exports.read(str(frozen), 'int8.tflite') is None
