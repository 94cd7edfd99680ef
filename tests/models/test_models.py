"""The models are as the tables say, and their initial values depend on the seed only."""

import functools
import importlib
import pkgutil
import subprocess
import sys
from typing import Dict, List, NamedTuple, Set, Tuple

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

import models
from models.layers.net import Layer, Net
from permafrost.recipes import catalog
from tests import networks
from tests.models import tables
from tests.models.helpers import evaluate
from tests.processes import ROOT

pytestmark = pytest.mark.usefixtures('default_graph')


def build(name, size=None, batch=None, training=False, **net_args):
    size = size or catalog.image_size(name)
    images = tf.placeholder(tf.float32, [batch, size, size, 3])
    net = Net(training, **net_args)
    return net, models.build(name, net, images), images


class Model(NamedTuple):
    """An inference graph, as the tests need it."""
    layers: List[Layer]
    variables: Dict[str, List[int]]  # shapes
    trained: Set[str]  # names of variables
    pools: Dict[str, Tuple[List[int], List[int]]]  # name: (ksize, strides)


@functools.lru_cache(None)
def inspect(name, size):
    """Return the Model; the deep ones take seconds to build."""
    with tf.Graph().as_default() as graph:
        net, _, _ = build(name, size)
        return Model(
            net.layers, {v.op.name: v.shape.as_list() for v in tf.global_variables()},
            {v.op.name for v in tf.trainable_variables()},
            {op.name: (list(op.get_attr('ksize')), list(op.get_attr('strides')))
             for op in graph.get_operations() if op.type == 'MaxPool'})


def millions(numbers):
    return f'{sum(numbers) / 1e6:.2f}'


@pytest.mark.parametrize('name', sorted(models.ALL))
def test_every_model_is_in_the_tables(name):
    counted = {model for model, _ in list(tables.PUBLISHED) + list(tables.BY_HAND)}
    assert name in counted, (
        f'add ({name!r}, image size) to BY_HAND in tests/models/tables.py: its parameters and '
        'operations, calculated by hand')
    assert name in tables.WEIGHTS, (
        f'add {name!r} to WEIGHTS in tests/models/tables.py: the shapes of its weights, on which '
        'its checkpoints will depend')


def test_the_tables_have_no_other_models():
    for table in (tables.WEIGHTS, tables.WEIGHT_DECAY, tables.POOLS, dict(tables.BY_HAND)):
        assert {key if isinstance(key, str) else key[0] for key in table} <= set(models.ALL)


def test_each_model_belongs_to_one_family():
    families = [info.name for info in pkgutil.iter_modules(models.__path__) if not info.ispkg]
    names = [name for family in families
             for name in importlib.import_module('models.' + family).MODELS]
    assert sorted(names) == sorted(models.MODELS)


def test_a_variant_takes_the_recipe_of_the_model_in_its_name():
    assert len(models.VARIANTS) == 20 and not set(models.VARIANTS) & set(models.MODELS)
    for name, build_variant in models.VARIANTS.items():
        assert models.MODELS[name.rpartition('_')[0]] is build_variant.func
        assert catalog.default_recipe(name) == catalog.default_recipe(name.rpartition('_')[0])


@pytest.mark.parametrize('name, size', tables.PUBLISHED)
def test_parameters_and_operations_are_as_published(name, size):
    layers = inspect(name, size).layers
    assert (millions(layer.params for layer in layers),
            millions(layer.ops for layer in layers)) == tables.PUBLISHED[name, size]


@pytest.mark.parametrize('name, size', tables.BY_HAND)
def test_parameters_and_operations_are_as_counted_by_hand(name, size):
    layers = inspect(name, size).layers
    assert (sum(layer.params for layer in layers),
            sum(layer.ops for layer in layers)) == tables.BY_HAND[name, size]


@pytest.mark.parametrize('name', tables.PUBLISHED_PARAMETERS)
def test_parameters_are_those_of_the_paper(name):
    published = tables.PUBLISHED_PARAMETERS[name]
    params = sum(layer.params for layer in inspect(name, 32).layers) / 1e6
    digits = len(published.split('.')[1])
    assert f'{params:.{digits}f}' == published


@pytest.mark.parametrize('name', sorted(tables.WEIGHTS))
def test_variables_have_their_names_and_shapes(name):
    sizes = [size for model, size in list(tables.PUBLISHED) + list(tables.BY_HAND) if model == name]
    model = inspect(name, sizes[0])
    vectors = {'n': ['bn/gamma', 'bn/beta', 'bn/moving_mean', 'bn/moving_variance'],
               's': ['bn/beta', 'bn/moving_mean', 'bn/moving_variance'], '-': []}
    expected = {}
    for scope, shape in (pair.split() for pair in tables.WEIGHTS[name].split(', ')):
        kind = shape[-1]
        shape = [int(n) for n in shape.rstrip('ns-').split('x')]
        expected[scope + '/weights'] = shape
        for vector in vectors.get(kind, ['biases']):
            expected[scope + '/' + vector] = shape[-1:]
    variables = model.variables
    if name == 'sprint':  # its normalizations have names of their own
        variables = {variable.replace('norm', 'conv').replace(
            'beta', 'bn/beta').replace('moving', 'bn/moving'): shape
            for variable, shape in variables.items()}
    assert variables == expected
    untrained = {v for v in model.variables if 'moving' in v or v == 'whiten/weights'}
    assert model.trained == set(model.variables) - untrained
    assert sum(layer.params for layer in model.layers) == sum(
        np.prod(shape) for v, shape in expected.items() if 'moving' not in v)


@pytest.mark.parametrize('name', networks.EVERY)
def test_weight_decay_is_that_of_the_table(name):
    net = build(name, training=True, step=tf.train.create_global_step(), batch=64)[0]
    assert {v.op.name: multiplier for v, multiplier in net.weight_decay_vars} == {
        scope + '/weights': multiplier
        for scope, multiplier in tables.WEIGHT_DECAY.get(name, {}).items()}, (
            'put the multipliers of weight decay into WEIGHT_DECAY in tests/models/tables.py')


@pytest.mark.parametrize('name', networks.EVERY)
def test_logits_are_finite_and_one_for_each_class(name):
    _, logits, images = build(name, num_classes=7)
    assert logits.dtype == tf.float32 and logits.shape.as_list() == [None, 7]
    size = catalog.image_size(name)
    values, = evaluate(logits, feed={
        images: np.random.RandomState(0).randn(2, size, size, 3)})
    assert values.shape == (2, 7) and np.isfinite(values).all() and values.std() > 0


@pytest.mark.parametrize('name', sorted(models.ALL))
def test_pools_are_those_of_the_table(name):
    pools = inspect(name, catalog.image_size(name)).pools
    exceptions = tables.POOLS.get(name, {})
    expected = {pool: exceptions.get(pool, exceptions.get('', (3, 2))) for pool in pools}
    assert pools == {pool: ([1, size, size, 1], [1, stride, stride, 1])
                     for pool, (size, stride) in expected.items()}, (
        'put the (size, stride) of pools other than (3, 2) into POOLS in tests/models/tables.py')
    assert set(exceptions) - {''} <= set(pools)


def test_nin2_drops_half_after_each_pool():
    net = build('nin2', training=True, step=tf.constant(5))[0]
    names = [layer.name for layer in net.layers]
    assert [names[i - 1] for i, layer in enumerate(net.layers) if layer.kind == 'dropout'] == [
        'pool1', 'pool2']
    drops = [op.inputs[1] for op in tf.get_default_graph().get_operations()
             if op.type == 'GreaterEqual']
    assert list(evaluate(*drops)) == [0.5, 0.5]


def test_the_batch_size_can_be_known():
    assert build('squeeze0', batch=4)[1].shape.as_list() == [4, 10]


def test_the_inference_graph_has_no_random_op_but_the_initializers():
    logits = build('nin2')[1]
    seen, todo = set(), [logits.op]
    while todo:
        op = todo.pop()
        if op not in seen:
            seen.add(op)
            todo += [tensor.op for tensor in op.inputs]
    assert not [op.type for op in seen if 'Random' in op.type or 'Uniform' in op.type]


def test_an_unknown_model_is_refused():
    with pytest.raises(ValueError, match="unknown model 'vgg'.*alex0"):
        build('vgg', 24)


def test_an_inference_network_has_a_graph_of_its_own():
    net, logits = models.build_inference('tuto', 7, 24)
    assert not net.training and logits.shape.as_list() == [None, 7]
    assert not tf.get_default_graph().get_operations()


def test_importing_models_does_not_import_tensorflow():
    subprocess.check_call([sys.executable, '-c', 'import models, sys; '
                           'assert "tuto" in models.MODELS and "tensorflow" not in sys.modules'],
                          cwd=ROOT)


def weights(seed=1, unrelated=False):
    with tf.Graph().as_default():
        if unrelated:
            tf.get_variable('other', [3], initializer=tf.random_normal_initializer())
            tf.random.uniform([2])
        build('tuto', seed=seed)
        variables = {v.op.name: v for v in tf.global_variables() if v.op.name != 'other'}
        return dict(zip(variables, evaluate(*variables.values())))


def test_weights_follow_from_the_seed_and_their_name_alone():
    one, again, other = weights(), weights(unrelated=True), weights(seed=2)
    for name in one:
        np.testing.assert_array_equal(one[name], again[name])
        assert (one[name] == other[name]).all() == name.endswith('biases')
    assert not np.array_equal(one['conv1/weights'].ravel()[:9], one['conv2/weights'].ravel()[:9])


def test_weights_are_the_same_on_every_engine():
    # As TF 1.15.5, intel-tensorflow 1.15.2 and TF 2.21 all gave them.
    np.testing.assert_allclose(weights(seed=0)['conv1/weights'].ravel()[:3],
                               [0.03114069, -0.0053567, 0.0341953], rtol=1e-5)


@pytest.mark.parametrize('name, fans', [('conv2', 25 * 64 + 25 * 64), ('fc1', 2304 + 384)])
def test_weights_are_glorot_normal(name, fans):
    values, biases = weights()[name + '/weights'], weights()[name + '/biases']
    std = (2. / fans) ** 0.5
    assert abs(values.std() / std - 1) < 0.01
    assert abs(values.mean()) < 0.02 * std
    assert 2.2 < np.abs(values).max() / std < 2.28  # cut off at 2 / 0.8796
    assert not biases.any()
