"""Every engine loads what every engine froze."""

import glob
import os

import numpy as np
import pytest

from permafrost.export import freeze
from tests import networks, processes
from tests.export.graphs import logits_of, read_json, some_images, untrained

OTHER = """
import sys
import numpy as np
import tensorflow.compat.v1 as tf
file, model, images, output = sys.argv[1:]
images = np.load(images)
tf.disable_v2_behavior()
with tf.Graph().as_default(), tf.Session() as session:
    graph = tf.GraphDef.FromString(open(file, 'rb').read())
    tf.import_graph_def(graph, name='')
    logits = session.run('predictions:0', {'images:0': images})
if model:
    with tf.Graph().as_default(), tf.Session() as session:
        signature = tf.saved_model.loader.load(session, ['serve'], model).signature_def[
            'serving_default']
        served = session.run(signature.outputs['predictions'].name,
                             {signature.inputs['images'].name: images})
    assert abs(served - logits).max() < 1e-5
np.save(output, logits)
"""


@pytest.fixture(scope='module')
def engines():
    """Paths of the interpreters of all engines that are set up."""
    found = sorted(glob.glob(os.path.join(processes.ROOT, '.venv', 'tf*', 'bin', 'python')))
    if len(found) < 2:
        pytest.skip('one engine is set up: make setup ENGINE=... for another')
    return found


@pytest.mark.slow
def test_files_move_between_engines(run, normed_run, engines, synthetic, tmp_path):
    """Frozen by each of those set up, loaded by each: the same logits to 1e-4."""
    images = some_images(synthetic, 100)
    np.save(str(tmp_path / 'images.npy'), images)
    files = {}
    for number, python in enumerate(engines):
        files[python] = str(tmp_path / ('%d.pb' % number)), str(tmp_path / str(number))
        processes.finish([python, os.path.join(processes.ROOT, 'freeze_graph.py'), '--run=' + run,
                          '--output=' + files[python][0], '--saved_model=' + files[python][1]])
    normed = str(tmp_path / 'normed.pb')
    freeze.freeze(normed_run, None, output=normed)
    expected = {}
    for path, model in list(files.values()) + [(normed, '')]:
        for python in engines:
            processes.finish([python, '-c', OTHER, path, model, str(tmp_path / 'images.npy'),
                              str(tmp_path / 'logits.npy')])
            logits = np.load(str(tmp_path / 'logits.npy'))
            first = expected.setdefault(path == normed, logits)
            np.testing.assert_allclose(logits, first, atol=1e-4)
    np.testing.assert_allclose(expected[True], logits_of(normed, images), atol=1e-4)
    # Nothing in a file depends on who froze it.
    assert len({read_json(path)['sha256'] for path, _ in files.values()}) == 1


@pytest.mark.slow
@pytest.mark.parametrize('name', ['activated', 'davidnet_tricks', 'xception_mini'])
def test_operations_that_few_models_have_are_those_of_every_engine(
        name, engines, synthetic, tmp_path):
    images = some_images(synthetic, 8)
    with networks.registered():
        graph, expected = untrained(name, images)
    path, saved = str(tmp_path / 'x.pb'), str(tmp_path / 'logits.npy')
    np.save(str(tmp_path / 'images.npy'), images)
    with open(path, 'wb') as stream:
        stream.write(graph.SerializeToString())
    for python in engines:
        processes.finish([python, '-c', OTHER, path, '', str(tmp_path / 'images.npy'), saved])
        np.testing.assert_allclose(np.load(saved), expected, atol=1e-4 * np.abs(expected).max())
