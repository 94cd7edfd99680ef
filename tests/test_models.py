"""The models against the published table, and their weights."""

import subprocess
import sys

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

import models
from models.net import Net

tf.disable_eager_execution()
tf.enable_resource_variables()

# Millions of parameters and operations as published, by model and image size.
PUBLISHED = {
    ('tuto', 24): ('1.07', '37.75'),
    ('tuto', 32): ('1.76', '66.98'),
    ('alex0', 24): ('1.46', '25.24'),
    ('alex1', 24): ('0.32', '43.51'),
    ('alex2', 24): ('1.07', '37.08'),
    ('alex3', 24): ('1.00', '37.60'),
    ('alex4', 24): ('1.49', '35.20'),
    ('nin0', 24): ('0.12', '46.21'),
    ('nin1', 24): ('0.18', '69.33'),
    ('nin2', 24): ('0.97', '251.36'),
    ('squeeze0', 24): ('0.12', '16.04'),
    ('squeeze1', 24): ('0.15', '22.84'),
}

# (inputs + 1) * outputs, and (1 + 2 * inputs + 2 for ReLU) * outputs * positions, layer by layer.
BY_HAND = {
    ('cs231n', 32): (
        28 * 64 + 16385 * 500 + 501 * 10,
        57 * 64 * 32 ** 2 + 36 * 64 * 16 ** 2 + 32771 * 500 + 1001 * 10),
    ('convone', 24): (
        76 * 64 + 65 * 32 + 801 * 32 + 33 * 64 + 2305 * 384 + 385 * 192 + 193 * 10,
        153 * 64 * 24 ** 2 + (131 * 32 + 1603 * 32 + 67 * 64 + 2 * 36 * 64) * 12 ** 2
        + 4611 * 384 + 771 * 192 + 385 * 10),
}

# The weights of every model; each has biases of its last dimension. Checkpoints depend on this.
WEIGHTS = {
    'cs231n': 'conv1 3x3x3x64, fc1 16384x500, logits 500x10',
    'convone': 'conv1 5x5x3x64, conv2 1x1x64x32, conv3 5x5x32x32, conv4 1x1x32x64, '
               'fc1 2304x384, fc2 384x192, logits 192x10',
    'tuto': 'conv1 5x5x3x64, conv2 5x5x64x64, fc1 2304x384, fc2 384x192, logits 192x10',
    'alex0': 'conv1 5x5x3x64, conv2 3x3x64x96, fc1 3456x384, fc2 384x192, logits 192x10',
    'alex1': 'conv1 5x5x3x64, conv2 5x5x64x64, conv3 5x5x64x64, fc1 576x192, logits 192x10',
    'alex2': 'conv1 5x5x3x64, conv2 5x5x64x64, fc1 2304x384, fc2 384x192, logits 192x10',
    'alex3': 'conv1 5x5x3x64, conv2 5x5x64x64, fc1 2304x384, logits 384x10',
    'alex4': 'conv1 5x5x3x96, conv2 3x3x96x96, fc1 3456x384, fc2 384x192, logits 192x10',
    'nin0': 'nin1/conv 5x5x3x64, nin1/mlp1 1x1x64x64, nin1/mlp2 1x1x64x64, '
            'nin2/conv 5x5x64x64, nin2/mlp1 1x1x64x64, nin2/mlp2 1x1x64x10',
    'nin1': 'nin1/conv 5x5x3x64, nin1/mlp1 1x1x64x96, nin1/mlp2 1x1x96x96, '
            'nin2/conv 5x5x96x64, nin2/mlp1 1x1x64x64, nin2/mlp2 1x1x64x10',
    'nin2': 'nin1/conv 5x5x3x192, nin1/mlp1 1x1x192x160, nin1/mlp2 1x1x160x96, '
            'nin2/conv 5x5x96x192, nin2/mlp1 1x1x192x192, nin2/mlp2 1x1x192x192, '
            'nin3/conv 3x3x192x192, nin3/mlp1 1x1x192x192, nin3/mlp2 1x1x192x10',
    'squeeze0': 'conv1 3x3x3x64, '
                'fire1/squeeze 1x1x64x16, fire1/expand1 1x1x16x64, fire1/expand3 3x3x16x64, '
                'fire2/squeeze 1x1x128x16, fire2/expand1 1x1x16x64, fire2/expand3 3x3x16x64, '
                'fire3/squeeze 1x1x128x32, fire3/expand1 1x1x32x128, fire3/expand3 3x3x32x128, '
                'fire4/squeeze 1x1x256x32, fire4/expand1 1x1x32x128, fire4/expand3 3x3x32x128, '
                'conv2 1x1x256x10',
    'squeeze1': 'conv1 3x3x3x64, '
                'fire1/squeeze 1x1x64x32, fire1/expand1 1x1x32x64, fire1/expand3 3x3x32x64, '
                'fire2/squeeze 1x1x128x32, fire2/expand1 1x1x32x64, fire2/expand3 3x3x32x64, '
                'fire3/squeeze 1x1x128x32, fire3/expand1 1x1x32x128, fire3/expand3 3x3x32x128, '
                'fire4/squeeze 1x1x256x32, fire4/expand1 1x1x32x128, fire4/expand3 3x3x32x128, '
                'conv2 1x1x256x10',
}

DECAYED = {
    'cs231n': {'conv1': 0.2, 'fc1': 0.2},
    **dict.fromkeys(['convone', 'tuto', 'alex0', 'alex2', 'alex4'], {'fc1': 1, 'fc2': 1}),
    **dict.fromkeys(['alex1', 'alex3'], {'fc1': 1}),
    **dict.fromkeys(['nin0', 'nin1', 'nin2', 'squeeze0', 'squeeze1'], {}),
}

pytestmark = pytest.mark.usefixtures('default_graph')


def build(name, size=None, batch=None, training=False, **net_args):
    size = size or models.IMAGE_SIZES[name]
    images = tf.placeholder(tf.float32, [batch, size, size, 3])
    net = Net(training, **net_args)
    return net, models.build(name, net, images), images


def evaluate(*tensors, **feeds):
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        return session.run(tensors, feeds.get('feed'))


def millions(numbers):
    return '%.2f' % (sum(numbers) / 1e6)


# Models


def test_no_model_escapes_the_tables():
    known = set(models.MODELS)
    assert {name for name, _ in list(PUBLISHED) + list(BY_HAND)} == known
    assert set(WEIGHTS) == set(DECAYED) == set(models.IMAGE_SIZES) == known


@pytest.mark.parametrize('name, size', PUBLISHED)
def test_published_size_and_operations(name, size):
    layers = build(name, size)[0].layers
    assert (millions(layer.params for layer in layers),
            millions(layer.ops for layer in layers)) == PUBLISHED[name, size]


@pytest.mark.parametrize('name, size', BY_HAND)
def test_size_and_operations_by_hand(name, size):
    layers = build(name, size)[0].layers
    assert (sum(layer.params for layer in layers),
            sum(layer.ops for layer in layers)) == BY_HAND[name, size]


@pytest.mark.parametrize('name', sorted(models.MODELS))
def test_variables(name):
    net = build(name)[0]
    expected = {}
    for scope, shape in (pair.split() for pair in WEIGHTS[name].split(', ')):
        shape = [int(n) for n in shape.split('x')]
        expected.update({scope + '/weights': shape, scope + '/biases': shape[-1:]})
    variables = tf.global_variables()
    assert {v.op.name: v.shape.as_list() for v in variables} == expected
    assert variables == tf.trainable_variables()
    assert sum(layer.params for layer in net.layers) == sum(map(np.prod, expected.values()))


@pytest.mark.parametrize('name', sorted(models.MODELS))
def test_trains_and_decays(name):
    net, logits, _ = build(name, training=True, step=tf.train.create_global_step())
    assert None not in tf.gradients(logits, tf.trainable_variables())
    assert {v.op.name: by for v, by in net.decayed} == {
        scope + '/weights': by for scope, by in DECAYED[name].items()}


@pytest.mark.parametrize('name', sorted(models.MODELS))
def test_logits(name):
    _, logits, images = build(name, num_classes=7)
    assert logits.dtype == tf.float32 and logits.shape.as_list() == [None, 7]
    size = models.IMAGE_SIZES[name]
    values, = evaluate(logits, feed={
        images: np.random.RandomState(0).randn(2, size, size, 3)})
    assert values.shape == (2, 7) and np.isfinite(values).all() and values.std() > 0


@pytest.mark.parametrize('name', sorted(models.MODELS))
def test_pools(name):
    build(name)
    pools = {op.name: op for op in tf.get_default_graph().get_operations() if op.type == 'MaxPool'}
    twos = {'cs231n': ['pool1'], 'convone': ['pool2']}.get(name, [])
    for pool, op in pools.items():
        size = 2 if pool in twos else 3
        assert list(op.get_attr('ksize')) == [1, size, size, 1], pool
        assert list(op.get_attr('strides')) == [1, 2, 2, 1], pool
    assert set(twos) <= set(pools)


def test_nin2_drops_half_after_each_pool():
    net = build('nin2', training=True, step=tf.constant(5))[0]
    names = [layer.name for layer in net.layers]
    assert [names[i - 1] for i, layer in enumerate(net.layers) if layer.kind == 'dropout'] == [
        'pool1', 'pool2']
    drops = [op.inputs[1] for op in tf.get_default_graph().get_operations()
             if op.type == 'GreaterEqual']
    assert list(evaluate(*drops)) == [0.5, 0.5]


def test_the_batch_size_may_be_known():
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


def test_names_are_known_without_tensorflow():
    subprocess.check_call([sys.executable, '-c', 'import models, sys; '
                           'assert "tuto" in models.MODELS and "tensorflow" not in sys.modules'])


# Weights


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
