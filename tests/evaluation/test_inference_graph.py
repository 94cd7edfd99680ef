"""The inference graph: no training in it, the right weights, and graphs of others."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from permafrost.config import Config
from permafrost.datasets import loading, registry
from permafrost.errors import UserError
from permafrost.evaluation import inference_graph
from permafrost.evaluation.evaluator import Evaluator
from permafrost.evaluation.frozen_graphs.frozen_graph import FrozenGraph
from permafrost.evaluation.frozen_graphs.graph_options import GraphOptions
from permafrost.recipes import overrides
from permafrost.training.checkpoints import finding
from tests import networks
from tests.evaluation.helpers import center_crops, evaluate, foreign_graph


def test_it_trains_nothing():
    """No queue, switch, update or random operation leads to the logits."""
    with tf.Graph().as_default() as graph:
        inference_graph.build_inference_graph(
            Config('nin2', overrides.get_recipe('tutorial'), 1), registry.CIFAR10_CLASSES,
            (32, 32, 3))
        needed = tf.graph_util.extract_sub_graph(graph.as_graph_def(), ['probabilities'])
    types = {node.op for node in needed.node}
    assert not [t for t in types if 'Queue' in t or 'Random' in t or 'Switch' in t
                or 'Assign' in t or 'Apply' in t], types
    assert set(inference_graph.InferenceGraph._fields) <= {node.name for node in needed.node}


def test_inputs_are_the_preprocessed_center(run, synthetic):
    images, _ = loading.load(synthetic, 'test')
    with Evaluator(run, None) as evaluator:
        inputs = evaluator.session.run(evaluator.inference.inputs,
                                       {evaluator.inference.images: images[:3]})
    np.testing.assert_allclose(inputs, center_crops(images[:3]), atol=1e-4)


@pytest.mark.parametrize('weights, suffix', [('averaged', '/ExponentialMovingAverage'),
                                             ('raw', '')])
def test_averaged_and_raw_weights_are_those_of_the_checkpoint(run, weights, suffix):
    reader = tf.train.load_checkpoint(finding.find_checkpoint(run)[1])
    with Evaluator(run, None, weights=weights) as evaluator:
        evaluator.evaluate(*finding.find_checkpoint(run))
        with evaluator.session.graph.as_default():
            variables = {v.op.name: v for v in tf.trainable_variables()}
        for name, value in evaluator.session.run(variables).items():
            np.testing.assert_array_equal(value, reader.get_tensor(name + suffix))


@pytest.mark.parametrize('average_statistics', [True, False])
def test_averaged_weights_have_averaged_statistics_except_in_earlier_runs(
        average_statistics, synthetic, tmp_path):
    run, options = str(tmp_path), {'average_statistics': average_statistics}
    networks.train(synthetic, run, 2, **options)
    reader = tf.train.load_checkpoint(finding.find_checkpoint(run)[1])
    with networks.registered(), Evaluator(run, None) as evaluator:
        evaluator.evaluate(*finding.find_checkpoint(run))
        with evaluator.session.graph.as_default():
            values = evaluator.session.run({v.op.name: v for v in tf.global_variables()})
    for name in ('conv1/bn/moving_mean', 'conv2/bn/moving_variance'):
        average = name + '/ExponentialMovingAverage'
        assert reader.has_tensor(average) == average_statistics
        saved = reader.get_tensor(average if average_statistics else name)
        np.testing.assert_array_equal(values[name], saved)
    networks.train(synthetic, run, 3, resume=True, **options)


def test_a_recipe_without_averages_has_raw_weights_alone(synthetic, tmp_path):
    run = str(tmp_path)
    networks.train(synthetic, run, 2, 'tiny', changes=['ema_decay=0'])
    with networks.registered():
        assert evaluate(run)['weights'] == 'raw'
        with pytest.raises(UserError, match='keeps no averages'):
            Evaluator(run, None, weights='averaged')


def test_a_foreign_graph_gets_standardized_centers(synthetic):
    images, _ = loading.load(synthetic, 'test')
    graph, expected = foreign_graph()
    with tf.Graph().as_default(), tf.Session() as session:
        frozen = FrozenGraph(graph, 'a.pb', synthetic, GraphOptions(standardize='per_image'))
        logits = frozen.logits(session, images[:50])
    np.testing.assert_allclose(logits, expected(center_crops(images[:50])), atol=1e-3)
