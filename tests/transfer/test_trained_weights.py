"""Trained weights, read from runs and frozen graphs: they give what their source gives."""

import dataclasses
import os
import shutil

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from permafrost import runs
from permafrost.config import Config
from permafrost.errors import UserError
from permafrost.evaluation import inference_graph
from permafrost.export import freeze
from permafrost.inputs import pipeline
from permafrost.recipes import catalog, overrides
from permafrost.training import initialization, setup
from permafrost.training.graph import build_train_graph
from permafrost.transfer import trained_weights
from tests import networks
from tests.export.helpers import logits_of, some_images


@pytest.fixture(scope='module')
def run(synthetic, tmp_path_factory):
    """A run of a network with batch normalization and averages, and its frozen graph."""
    run = str(tmp_path_factory.mktemp('runs') / 'normed')
    networks.train(synthetic, run, 12)
    with networks.registered():
        freeze.freeze(run, None)
    return run


@pytest.fixture(autouse=True)
def models():
    with networks.registered():
        yield


def logits_with(trained, config, dataset, images):
    """Return the logits of the inference graph of `config` that begins with `trained`."""
    values = initialization.choose(trained, config, dataset.classes)
    with tf.Graph().as_default(), initialization.initial_values(values):
        inference = inference_graph.build_inference_graph(
            config, dataset.classes, dataset.image_shape)
        with tf.Session() as session:
            session.run(tf.global_variables_initializer())
            return inference.logits(session, images)


@pytest.mark.parametrize('is_graph', [False, True])
def test_they_give_the_logits_of_their_source(run, synthetic, is_graph):
    source = os.path.join(run, 'normed.pb')
    config, _ = runs.read_config(run)
    images = some_images(synthetic)
    trained = trained_weights.read(source if is_graph else run, config, synthetic)
    np.testing.assert_allclose(logits_with(trained, config, synthetic, images),
                               logits_of(source, images), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('validation, is_graph, has_note', [
    (100, False, True), (100, True, True), (0, False, False), (0, True, False)])
def test_images_that_the_weights_have_seen_are_noted(run, synthetic, capsys, validation, is_graph,
                                                     has_note):
    """They would make a validation accuracy too high, and it chooses the best checkpoint."""
    source = os.path.join(run, 'normed.pb') if is_graph else run
    config, _ = runs.read_config(run)
    config = dataclasses.replace(config, validation=validation)
    trained_weights.read(source, config, synthetic)
    assert ('the validation accuracy may be too high' in capsys.readouterr().out) == has_note


def test_weights_of_the_same_split_have_not_seen_its_validation_images(run, synthetic, tmp_path,
                                                                       capsys):
    copy = shutil.copytree(run, str(tmp_path / 'run'))
    config, extra = runs.read_config(copy)
    config = dataclasses.replace(config, validation=100)
    runs.write_config(copy, config, extra)
    trained_weights.read(copy, config, synthetic)
    assert 'too high' not in capsys.readouterr().out
    trained_weights.read(copy, dataclasses.replace(config, seed=config.seed + 1), synthetic)
    assert 'too high' in capsys.readouterr().out
    runs.write_config(copy, dataclasses.replace(config, init_from='squeeze1'), extra)
    trained_weights.read(copy, config, synthetic)  # squeeze1 may have seen them
    assert 'too high' in capsys.readouterr().out


def test_a_folded_normalization_gives_the_same_in_training(run, synthetic):
    """The statistics of the batch replace the moving ones: they are those of the same images."""
    config, _ = runs.read_config(run)
    trained = trained_weights.read(os.path.join(run, 'normed.pb'), config, synthetic)
    values = initialization.choose(trained, config, synthetic.classes)
    images = pipeline.sample_images(synthetic, config, None)[:trained_weights.BATCH_SIZE]
    with tf.Graph().as_default() as graph:
        build_train_graph(config, 10, tf.constant(images), tf.zeros([len(images)], tf.int64),
                          initial=values)
        with tf.Session() as session:
            session.run(tf.global_variables_initializer())
            logits = session.run(graph.get_tensor_by_name('logits:0'))
    expected = logits_of(os.path.join(run, 'normed.pb'), images, feed='inputs')
    np.testing.assert_allclose(logits, expected, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize('model', ['tuto', 'squeeze1', 'alex2', 'sprint'])
def test_bundled_models_begin_as_they_are(model, synthetic):
    recipe = overrides.get_recipe(catalog.default_recipe(model), ['normalize=per_image'])
    config = Config(model, recipe, 1, train_images=640)
    trained = trained_weights.read(model, config, synthetic)
    path = setup.find_graph(model, 'init_from')
    assert trained.source == path and trained.classes[:2] == ('airplane', 'automobile')
    trained = trained._replace(classes=tuple(synthetic.classes))
    values = initialization.choose(trained, config, synthetic.classes)
    images = np.random.RandomState(1).normal(size=[8, *[recipe.image_size] * 2, 3])
    with tf.Graph().as_default(), initialization.initial_values(values):
        inference = inference_graph.build_inference_graph(
            config, synthetic.classes, synthetic.image_shape)
        with tf.Session() as session:
            session.run(tf.global_variables_initializer())
            logits = session.run(inference.predictions, {inference.inputs: images})
    np.testing.assert_allclose(logits, logits_of(path, images, feed='inputs'),
                               rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize('source, message', [
    ('no_such', "no run, graph or model named 'no_such': name .* one of alex0, .*, tuto, .* with"),
    ('no/such.pb', "named 'no/such.pb': name a run"), (os.curdir, 'is not a run directory'),
    (__file__, 'is not a frozen graph')])
def test_a_wrong_source_is_one_line(source, message, synthetic):
    config = Config('tuto', overrides.get_recipe('tutorial'), 1)
    with pytest.raises(UserError, match=message) as error:
        trained_weights.read(source, config, synthetic)
    assert '\n' not in str(error.value)


def test_a_graph_of_others_does_not_fit(tmp_path, synthetic):
    graph = tf.GraphDef()
    graph.node.add(name='x', op='Placeholder')
    (tmp_path / 'a.pb').write_bytes(graph.SerializeToString())
    config = Config('tuto', overrides.get_recipe('tutorial'), 1)
    trained = trained_weights.read(str(tmp_path / 'a.pb'), config, synthetic)
    with pytest.raises(UserError, match='does not fit tuto at 24x24: conv1/weights is missing'):
        initialization.choose(trained, config, synthetic.classes)


def test_a_run_with_a_checkpoint_continues_from_that(run, synthetic, tmp_path):
    setup = networks.train_setup(synthetic, run, 20, 'normed', resume=True, init_from='gone')
    assert trained_weights.with_trained_weights(setup, None).trained is None
    setup = networks.train_setup(synthetic, tmp_path, 20, 'normed', init_from=run)
    assert 'conv1/weights' in trained_weights.with_trained_weights(setup, None).trained.values


def test_out_of_memory_is_not_taken_for_a_wrong_graph(run, synthetic, monkeypatch):
    def fail(*unused):
        raise tf.errors.ResourceExhaustedError(None, None, 'OOM when allocating tensor')
    monkeypatch.setattr(trained_weights, '_read_norms', fail)
    with pytest.raises(tf.errors.ResourceExhaustedError):  # entry_point explains it
        trained_weights.read(os.path.join(run, 'normed.pb'), runs.read_config(run)[0], synthetic)


def test_a_graph_with_a_damaged_constant_is_one_line(tmp_path, synthetic):
    graph = tf.GraphDef()
    graph.node.add(name='x', op='BiasAdd')  # without inputs
    weights = graph.node.add(name='y', op='Const')
    weights.attr['dtype'].type = tf.float32.as_datatype_enum
    weights.attr['value'].tensor.CopyFrom(tf.make_tensor_proto(np.arange(3, dtype=np.float32)))
    weights.attr['value'].tensor.tensor_shape.dim[0].size = 5
    (tmp_path / 'a.pb').write_bytes(graph.SerializeToString())
    config = Config('tuto', overrides.get_recipe('tutorial'), 1)
    with pytest.raises(UserError, match='a.pb has no weights to start from') as error:
        trained_weights.read(str(tmp_path / 'a.pb'), config, synthetic)
    assert '\n' not in str(error.value)
