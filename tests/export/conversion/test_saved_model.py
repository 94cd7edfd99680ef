"""The SavedModel that is written next to a frozen graph."""

import os
import sys

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from permafrost.errors import UserError
from permafrost.evaluation.frozen_graphs import graph_def
from permafrost.export import freeze
from permafrost.export.conversion import saved_model
from tests import processes
from tests.export.helpers import logits_of, some_images


def test_a_saved_model_gives_the_outputs_of_the_frozen_graph(run, file, synthetic, tmp_path):
    directory = str(tmp_path / 'new' / '1')
    freeze.freeze(run, None, output=str(tmp_path / 'a.pb'), saved_model=directory)
    assert os.listdir(str(tmp_path / 'new')) == ['1']
    images = some_images(synthetic)
    with tf.Graph().as_default(), tf.Session() as session:
        loaded = tf.saved_model.loader.load(session, [tf.saved_model.tag_constants.SERVING],
                                            directory)
        signature = loaded.signature_def['serving_default']
        assert signature.method_name == 'tensorflow/serving/predict'
        outputs = session.run({name: tensor.name for name, tensor in signature.outputs.items()},
                              {signature.inputs['images'].name: images})
    np.testing.assert_allclose(outputs['predictions'], logits_of(file, images), atol=1e-5)
    np.testing.assert_allclose(outputs['probabilities'], logits_of(file, images, 'probabilities'),
                               atol=1e-5)
    np.testing.assert_allclose(saved_model.predict(directory, images, None),
                               logits_of(file, images), atol=1e-5)
    with pytest.raises(UserError, match='exists: name another --saved_model'):
        freeze.freeze(run, None, output=str(tmp_path / 'a.pb'), saved_model=directory)


def test_the_files_are_on_the_disk_before_the_directory_has_its_name(
        file, tmp_path, monkeypatch):
    calls, fsync, rename = [], os.fsync, os.rename

    def record_fsync(handle):
        calls.append(os.path.basename(os.readlink(f'/proc/self/fd/{handle}')))
        fsync(handle)

    def record_rename(source, target):
        calls.append('rename')
        written.extend(name for folder, folders, names in os.walk(source)
                       for name in (*folders, *names))
        rename(source, target)

    written = ['model']
    graph = graph_def.read_graph(file)
    (tmp_path / 'models').mkdir()
    monkeypatch.setattr(os, 'fsync', record_fsync)
    monkeypatch.setattr(os, 'rename', record_rename)
    saved_model.write(graph, str(tmp_path / 'models' / '1'), None)
    assert 'saved_model.pb' in written
    calls = calls[calls.index(tmp_path.name) + 1:]  # the folder of `models`, which is new
    assert sorted(calls[:calls.index('rename')]) == sorted(written)
    assert calls[calls.index('rename'):] == ['rename', 'models']


def test_an_unwritable_directory_is_one_line(run, tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(UserError, match='name another place'):
        freeze.freeze(run, None, output=str(tmp_path / 'a.pb'),
                      saved_model=str(tmp_path / 'file' / 'model'))
    assert sorted(os.listdir(str(tmp_path))) == ['a.json', 'a.pb', 'file']


@pytest.mark.slow
def test_saved_model_cli_shows_the_signature(run, tmp_path):
    directory = str(tmp_path / '1')
    freeze.freeze(run, None, output=str(tmp_path / 'a.pb'), saved_model=directory)
    tool = os.path.join(os.path.dirname(sys.executable), 'saved_model_cli')
    output = processes.finish([tool, 'show', '--dir', directory, '--all'])
    assert "signature_def['serving_default']" in output
    for line in ("inputs['images'] tensor_info", 'dtype: DT_UINT8', 'shape: (-1, 32, 32, 3)',
                 "outputs['probabilities'] tensor_info", "outputs['predictions'] tensor_info",
                 'Method name is: tensorflow/serving/predict'):
        assert line in output, output
