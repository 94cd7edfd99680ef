"""The models against the published table, and the layers against slow NumPy."""

import math
import subprocess
import sys

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

import models
from models import activations, initializers
from models.net import Net
from tests import networks

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

# Millions of parameters that the papers give, to the digits that they give.
PUBLISHED_PARAMETERS = {'resnet20': '0.27', 'resnet32': '0.46', 'resnet44': '0.66',
                        'resnet56': '0.85', 'resnet110': '1.7', 'davidnet': '6.57'}


def total(*parts):
    """Sums of pairs of parameters and operations."""
    return tuple(map(sum, zip(*parts)))


def conv(size, channels, filters, side, norm=0, ops=3):
    """A convolution at side x side places, with a bias, `norm` vectors or, of ops 0, neither."""
    vectors = norm or bool(ops)
    return ((size ** 2 * channels + vectors) * filters,
            (2 * size ** 2 * channels + ops) * filters * side ** 2)


def each(ops, *shape):
    """Operations on each element of maps of that shape."""
    return 0, ops * int(np.prod(shape))


def resnet_by_hand(blocks):
    parts = [conv(3, 3, 16, 32, norm=2)]
    for stage, (filters, side) in enumerate(((16, 32), (32, 16), (64, 8))):
        for block in range(blocks):
            first = filters // 2 if stage and not block else filters
            parts += [conv(3, first, filters, side, norm=2),
                      conv(3, filters, filters, side, norm=2, ops=1), each(3, side, side, filters)]
    return total(*parts + [conv(1, 64, 10, 1, ops=1)])


def separable(channels, filters, side, stride=1, ops=3):
    return total(conv(3, 1, channels, side // stride, ops=0),
                 conv(1, channels, filters, side // stride, norm=2, ops=ops))


# (inputs + 1) * outputs, and (1 + 2 * inputs + 2 for ReLU) * outputs * positions, layer by layer.
BY_HAND = {
    ('cs231n', 32): (
        28 * 64 + 16385 * 500 + 501 * 10,
        57 * 64 * 32 ** 2 + 36 * 64 * 16 ** 2 + 32771 * 500 + 1001 * 10),
    ('convone', 24): (
        76 * 64 + 65 * 32 + 801 * 32 + 33 * 64 + 2305 * 384 + 385 * 192 + 193 * 10,
        153 * 64 * 24 ** 2 + (131 * 32 + 1603 * 32 + 67 * 64 + 2 * 36 * 64) * 12 ** 2
        + 4611 * 384 + 771 * 192 + 385 * 10),
    ('lenet5', 32): total(conv(5, 3, 6, 28), conv(5, 6, 16, 10), conv(1, 400, 120, 1),
                          conv(1, 120, 84, 1), conv(1, 84, 10, 1, ops=1)),
    ('cifarnet', 32): total(
        conv(5, 3, 64, 32), each(36, 16, 16, 64), conv(5, 64, 64, 16), each(36, 16, 16, 64),
        conv(1, 4096, 384, 1), conv(1, 384, 192, 1), conv(1, 192, 10, 1, ops=1)),
    ('nin_bn', 32): total(
        conv(5, 3, 192, 32, 2), conv(1, 192, 160, 32, 2), conv(1, 160, 96, 32, 2),
        conv(5, 96, 192, 16, 2), conv(1, 192, 192, 16, 2), conv(1, 192, 192, 16, 2),
        conv(3, 192, 192, 8, 2), conv(1, 192, 192, 8, 2), conv(1, 192, 10, 8, 2)),
    ('davidnet', 32): total(
        conv(3, 3, 64, 32, 2), conv(3, 64, 128, 32, 2), conv(3, 128, 128, 16, 2),
        conv(3, 128, 128, 16, 2), each(1, 16, 16, 128), conv(3, 128, 256, 16, 2),
        conv(3, 256, 512, 8, 2), conv(3, 512, 512, 4, 2), conv(3, 512, 512, 4, 2),
        each(1, 4, 4, 512), conv(1, 512, 10, 1, ops=0), each(1, 10)),
    # CELU takes 4 operations an element; a normalization after a pool counts apart.
    ('davidnet_tricks', 32): total(
        conv(3, 3, 27, 32, ops=0), conv(1, 27, 64, 32, 1, 5),
        conv(3, 64, 128, 32, ops=0), (128, 0), each(5, 16, 16, 128),
        conv(3, 128, 128, 16, 1, 5), conv(3, 128, 128, 16, 1, 5), each(1, 16, 16, 128),
        conv(3, 128, 256, 16, ops=0), (256, 0), each(5, 8, 8, 256),
        conv(3, 256, 512, 8, ops=0), (512, 0), each(5, 4, 4, 512),
        conv(3, 512, 512, 4, 1, 5), conv(3, 512, 512, 4, 1, 5), each(1, 4, 4, 512),
        conv(1, 512, 10, 1, ops=0), each(1, 10)),
    # 31 places after 2x2 patches, then 15, 7 and 3; its GELU takes 4 operations.
    ('sprint', 32): total(
        conv(2, 3, 24, 31, ops=0), each(4, 31, 31, 24),
        conv(3, 24, 64, 31, ops=0), (64, 0), each(5, 15, 15, 64), conv(3, 64, 64, 15, 1, 5),
        conv(3, 64, 256, 15, ops=0), (256, 0), each(5, 7, 7, 256), conv(3, 256, 256, 7, 1, 5),
        conv(3, 256, 256, 7, ops=0), (256, 0), each(5, 3, 3, 256), conv(3, 256, 256, 3, 1, 5),
        conv(1, 256, 10, 1, ops=0), each(1, 10)),
    ('vgg_bn_drop', 32): total(*[conv(3, *row, norm=2) for row in [
        (3, 64, 32), (64, 64, 32), (64, 128, 16), (128, 128, 16), (128, 256, 8), (256, 256, 8),
        (256, 256, 8), (256, 512, 4), (512, 512, 4), (512, 512, 4), (512, 512, 2),
        (512, 512, 2), (512, 512, 2)]], conv(1, 512, 512, 1, 2), conv(1, 512, 10, 1, ops=1)),
    ('xception_mini', 32): total(
        conv(3, 3, 32, 32, 2), separable(32, 64, 32), separable(64, 64, 32, 2, 1),
        conv(1, 32, 64, 16, 2, 1), each(3, 16, 16, 64), separable(64, 128, 16),
        separable(128, 128, 16, 2, 1), conv(1, 64, 128, 8, 2, 1), each(3, 8, 8, 128),
        separable(128, 128, 8), separable(128, 128, 8, 1, 1), each(3, 8, 8, 128),
        separable(128, 128, 8), separable(128, 128, 8, 1, 1), each(3, 8, 8, 128),
        separable(128, 256, 8), conv(1, 256, 10, 1, ops=1)),
}
BY_HAND.update({(name, 32): resnet_by_hand(blocks) for name, blocks in (
    ('resnet20', 3), ('resnet32', 5), ('resnet44', 7), ('resnet56', 9), ('resnet110', 18))})

# The weights of every model, and what comes with them: biases of the last dimension, but `n`: batch
# normalization, `s`: the same without its scale, `-`: nothing. Checkpoints depend on this.
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
    'lenet5': 'conv1 5x5x3x6, conv2 5x5x6x16, fc1 400x120, fc2 120x84, logits 84x10',
    'cifarnet': 'conv1 5x5x3x64, conv2 5x5x64x64, fc1 4096x384, fc2 384x192, logits 192x10',
    'nin_bn': 'nin1/conv 5x5x3x192n, nin1/mlp1 1x1x192x160n, nin1/mlp2 1x1x160x96n, '
              'nin2/conv 5x5x96x192n, nin2/mlp1 1x1x192x192n, nin2/mlp2 1x1x192x192n, '
              'nin3/conv 3x3x192x192n, nin3/mlp1 1x1x192x192n, nin3/mlp2 1x1x192x10n',
    'davidnet': 'prep 3x3x3x64n, conv1 3x3x64x128n, residual1/conv1 3x3x128x128n, '
                'residual1/conv2 3x3x128x128n, conv2 3x3x128x256n, conv3 3x3x256x512n, '
                'residual3/conv1 3x3x512x512n, residual3/conv2 3x3x512x512n, fc 512x10-',
    'davidnet_tricks': 'whiten 3x3x3x27-, prep 1x1x27x64s, conv1 3x3x64x128s, '
                       'residual1/conv1 3x3x128x128s, residual1/conv2 3x3x128x128s, '
                       'conv2 3x3x128x256s, conv3 3x3x256x512s, residual3/conv1 3x3x512x512s, '
                       'residual3/conv2 3x3x512x512s, fc 512x10-',
    'sprint': 'whiten 2x2x3x24-, group1/conv1 3x3x24x64s, group1/conv2 3x3x64x64s, '
              'group2/conv1 3x3x64x256s, group2/conv2 3x3x256x256s, '
              'group3/conv1 3x3x256x256s, group3/conv2 3x3x256x256s, fc 256x10-',
    'vgg_bn_drop': 'conv1_1 3x3x3x64n, conv1_2 3x3x64x64n, conv2_1 3x3x64x128n, '
                   'conv2_2 3x3x128x128n, conv3_1 3x3x128x256n, conv3_2 3x3x256x256n, '
                   'conv3_3 3x3x256x256n, conv4_1 3x3x256x512n, conv4_2 3x3x512x512n, '
                   'conv4_3 3x3x512x512n, conv5_1 3x3x512x512n, conv5_2 3x3x512x512n, '
                   'conv5_3 3x3x512x512n, fc1 512x512n, logits 512x10',
    'xception_mini': 'conv1 3x3x3x32n, ' + ''.join(
        '{0}/depthwise 3x3x{1}x1-, {0}/pointwise 1x1x{1}x{2}n, '.format(*row) for row in [
            ('entry1/sep1', 32, 64), ('entry1/sep2', 64, 64), ('entry2/sep1', 64, 128),
            ('entry2/sep2', 128, 128), ('middle1/sep1', 128, 128), ('middle1/sep2', 128, 128),
            ('middle2/sep1', 128, 128), ('middle2/sep2', 128, 128), ('exit', 128, 256)])
        + 'entry1/shortcut 1x1x32x64n, entry2/shortcut 1x1x64x128n, logits 256x10',
}
for name, blocks in (('resnet20', 3), ('resnet32', 5), ('resnet44', 7), ('resnet56', 9),
                     ('resnet110', 18)):
    WEIGHTS[name] = 'conv1 3x3x3x16n, ' + ''.join(
        'stage{0}/block{1}/conv1 3x3x{2}x{3}n, stage{0}/block{1}/conv2 3x3x{3}x{3}n, '.format(
            stage, block, filters // 2 if stage > 1 and block == 1 else filters, filters)
        for stage, filters in ((1, 16), (2, 32), (3, 64))
        for block in range(1, blocks + 1)) + 'logits 64x10'

DECAYED = {
    'cs231n': {'conv1': 0.2, 'fc1': 0.2},
    **dict.fromkeys(['convone', 'tuto', 'alex0', 'alex2', 'alex4', 'cifarnet'],
                    {'fc1': 1, 'fc2': 1}),
    **dict.fromkeys(['alex1', 'alex3'], {'fc1': 1}),
    **dict.fromkeys(['nin0', 'nin1', 'nin2', 'squeeze0', 'squeeze1', 'nin_bn', 'lenet5', 'davidnet',
                     'davidnet_tricks', 'sprint', 'vgg_bn_drop', 'xception_mini', 'resnet20',
                     'resnet32', 'resnet44', 'resnet56', 'resnet110'], {}),
}

# Size and stride of the pools that are not 3 and 2; without a name, of all others of the model.
POOLS = {'cs231n': {'': (2, 2)}, 'convone': {'pool2': (2, 2)}, 'lenet5': {'': (2, 2)},
         'cifarnet': {'': (2, 2)}, 'vgg_bn_drop': {'': (2, 2)},
         'davidnet': {'': (2, 2), 'pool': (4, 4)},
         'davidnet_tricks': {'': (2, 2), 'pool': (4, 4)}, 'sprint': {'': (2, 2), 'pool': (3, 3)}}


@pytest.fixture(autouse=True)
def graph():
    with tf.Graph().as_default():
        yield


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


@pytest.mark.parametrize('name', PUBLISHED_PARAMETERS)
def test_published_parameters(name):
    published = PUBLISHED_PARAMETERS[name]
    found = sum(layer.params for layer in build(name)[0].layers) / 1e6
    assert '%.*f' % (len(published.split('.')[1]), found) == published


@pytest.mark.parametrize('name', sorted(models.MODELS))
def test_variables(name):
    net = build(name)[0]
    vectors = {'n': ['bn/gamma', 'bn/beta', 'bn/moving_mean', 'bn/moving_variance'],
               's': ['bn/beta', 'bn/moving_mean', 'bn/moving_variance'], '-': []}
    expected = {}
    for scope, shape in (pair.split() for pair in WEIGHTS[name].split(', ')):
        kind = shape[-1]
        shape = [int(n) for n in shape.rstrip('ns-').split('x')]
        expected[scope + '/weights'] = shape
        for vector in vectors.get(kind, ['biases']):
            expected[scope + '/' + vector] = shape[-1:]
    variables = {v.op.name: v.shape.as_list() for v in tf.global_variables()}
    if name == 'sprint':  # its normalizations have names of their own
        variables = {variable.replace('norm', 'conv').replace(
            'beta', 'bn/beta').replace('moving', 'bn/moving'): shape
            for variable, shape in variables.items()}
    assert variables == expected
    fixed = {v for v in variables if 'moving' in v or v.startswith('whiten')}
    assert len(tf.trainable_variables()) == len(variables) - len(fixed)
    counted = {v for v in expected if 'moving' not in v}
    assert sum(layer.params for layer in net.layers) == sum(
        np.prod(expected[v]) for v in counted)


@pytest.mark.parametrize('name', sorted(models.MODELS))
def test_trains_and_decays(name):
    net, logits, _ = build(name, training=True, step=tf.train.create_global_step(), batch=64)
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
    others = POOLS.get(name, {})
    for pool, op in pools.items():
        size, stride = others.get(pool, others.get('', (3, 2)))
        assert list(op.get_attr('ksize')) == [1, size, size, 1], pool
        assert list(op.get_attr('strides')) == [1, stride, stride, 1], pool
    assert set(others) - {''} <= set(pools)


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


# Layers


def same(length, size, stride):
    """Output length and padding before of SAME, as TensorFlow documents it."""
    out = -(-length // stride)
    return out, max((out - 1) * stride + size - length, 0) // 2


def windows(x, size, stride):
    """{(i, j): the part of x [N, H, W, C] under output i, j, and where it lies in the window}."""
    (rows, top), (columns, left) = (same(n, size, stride) for n in x.shape[1:3])
    result = {}
    for i in range(rows):
        for j in range(columns):
            y, z = i * stride - top, j * stride - left
            part = x[:, max(y, 0):y + size, max(z, 0):z + size]
            result[i, j] = part, max(-y, 0), max(-z, 0)
    return result


def randoms(*shape):
    return np.random.RandomState(3).randn(*shape).astype(np.float32)


def layer(method, x, *args, **kwargs):
    """The Layer and output of net.<method>('layer', x, ...), its weights and its biases."""
    net = Net(training=False)
    y = getattr(net, method)('layer', tf.constant(x), *args, **kwargs)
    variables = tf.global_variables()
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        for variable in variables[1:]:
            variable.load(randoms(*variable.shape.as_list()), session)  # zeros would hide them
        record, = net.layers
        values = session.run([y] + variables)
    assert record.name == 'layer' and record.kind == method
    assert record.output_shape == values[0].shape[1:]
    return (record,) + tuple(values)


@pytest.mark.parametrize('shape, filters, size', [
    ((2, 5, 4, 3), 6, 3), ((1, 3, 6, 2), 3, 5), ((2, 4, 4, 5), 4, 1), ((1, 5, 5, 2), 3, 2)])
def test_conv(shape, filters, size):
    x = randoms(*shape)
    record, y, w, b = layer('conv', x, filters, size)
    expected = np.zeros(shape[:3] + (filters,))
    for (i, j), (part, top, left) in windows(x, size, 1).items():
        under = w[top:top + part.shape[1], left:left + part.shape[2]]
        expected[:, i, j] = np.maximum(np.tensordot(part, under, 3) + b, 0)
    np.testing.assert_allclose(y, expected, atol=1e-5)
    macs = size * size * shape[3] * filters * shape[1] * shape[2]
    outputs = shape[1] * shape[2] * filters
    assert record[3:] == (w.size + b.size, 2 * macs + 3 * outputs, macs)


def normed(training, x):
    """net.conv with batch normalization: the net, its output, {name: variable}."""
    net = Net(training)
    y = net.conv('layer', tf.constant(x), 6, 3, norm=True)
    return net, y, {v.op.name[len('layer/'):]: v for v in tf.global_variables()}


def test_batch_normalization_has_its_names_and_counts():
    net, _, variables = normed(True, randoms(2, 5, 4, 3))
    assert {name: v.shape.as_list() for name, v in variables.items()} == dict(
        {'weights': [3, 3, 3, 6]}, **dict.fromkeys(
            ['bn/gamma', 'bn/beta', 'bn/moving_mean', 'bn/moving_variance'], [6]))
    assert {v.op.name for v in tf.trainable_variables()} == {
        'layer/weights', 'layer/bn/gamma', 'layer/bn/beta'}
    macs = 9 * 3 * 6 * 20
    assert net.layers == [('layer', 'conv', (5, 4, 6), 162 + 12, 2 * macs + 3 * 120, macs)]


def convolved(x, w):
    y = np.zeros(x.shape[:3] + w.shape[3:])
    for (i, j), (part, top, left) in windows(x, w.shape[0], 1).items():
        y[:, i, j] = np.tensordot(part, w[top:top + part.shape[1], left:left + part.shape[2]], 3)
    return y


def test_batch_normalization_in_training():
    x = randoms(4, 5, 4, 3)
    net, y, variables = normed(True, x)
    updates = tf.get_collection(tf.GraphKeys.UPDATE_OPS)
    assert len(updates) == 2
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        variables['bn/gamma'].load(randoms(6), session)
        variables['bn/beta'].load(randoms(6) + 1, session)
        got, w = session.run([y, variables['weights']])
        session.run(updates)
        mean, variance = session.run([variables['bn/moving_mean'],
                                      variables['bn/moving_variance']])
    maps = convolved(x, w)
    by_channel = maps.reshape(-1, 6)
    normal = (maps - by_channel.mean(0)) / np.sqrt(by_channel.var(0) + net.norm_epsilon)
    np.testing.assert_allclose(got, np.maximum(normal * randoms(6) + randoms(6) + 1, 0), atol=1e-4)
    np.testing.assert_allclose(mean, 0.1 * by_channel.mean(0), atol=1e-5)
    np.testing.assert_allclose(variance, 0.9 + 0.1 * by_channel.var(0, ddof=1), rtol=1e-4)


def test_batch_normalization_in_inference():
    x = randoms(2, 5, 4, 3)
    net, y, variables = normed(False, x)
    assert not tf.get_collection(tf.GraphKeys.UPDATE_OPS)
    values = {'gamma': randoms(6), 'beta': randoms(6) + 1, 'moving_mean': randoms(6) / 2,
              'moving_variance': np.abs(randoms(6)) + 0.2}
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        for name, value in values.items():
            variables['bn/' + name].load(value, session)
        got, w = session.run([y, variables['weights']])
    normal = (convolved(x, w) - values['moving_mean']) / np.sqrt(
        values['moving_variance'] + net.norm_epsilon)
    np.testing.assert_allclose(
        got, np.maximum(normal * values['gamma'] + values['beta'], 0), atol=1e-4)


def test_training_moves_the_moving_statistics(synthetic, tmp_path):
    with networks.registered():
        networks.train(synthetic, str(tmp_path), 3)
    reader = tf.train.load_checkpoint(str(tmp_path / 'train'))
    for name, first in (('moving_mean', 0), ('moving_variance', 1)):
        assert (reader.get_tensor('conv1/bn/' + name) != first).all()


@pytest.mark.parametrize('shape', [(3, 7), (2, 2, 3, 4)])
@pytest.mark.parametrize('relu', [True, False])
def test_fc(shape, relu):
    x = randoms(*shape)
    record, y, w, b = layer('fc', x, 5, activation='relu' if relu else 'linear')
    expected = x.reshape(shape[0], -1).dot(w) + b
    assert expected.min() < 0
    np.testing.assert_allclose(y, np.maximum(expected, 0) if relu else expected, atol=1e-5)
    assert record[3:] == (w.size + 5, 2 * w.size + (15 if relu else 5), w.size)


@pytest.mark.parametrize('shape, size', [
    ((2, 6, 6, 3), 3), ((1, 5, 7, 2), 3), ((2, 4, 5, 3), 2), ((1, 1, 1, 2), 3)])
def test_max_pool(shape, size):
    x = randoms(*shape) - 5  # below zero: what pads must not win
    record, y = layer('max_pool', x, size=size)
    for (i, j), (part, _, _) in windows(x, size, 2).items():
        np.testing.assert_array_equal(y[:, i, j], part.max((1, 2)))
    assert y.shape[1:3] == (-(-shape[1] // 2), -(-shape[2] // 2))
    assert record[3:] == (0, 0, 0)


@pytest.mark.parametrize('channels', [3, 12])
def test_lrn(channels):
    x = 50 * randoms(2, 3, 2, channels)
    record, y = layer('lrn', x)
    for c in range(channels):
        squares = (x[..., max(c - 4, 0):c + 5] ** 2).sum(-1)
        np.testing.assert_allclose(y[..., c], x[..., c] / (1 + 0.001 / 9 * squares) ** 0.75,
                                   rtol=2e-4)
    assert record[3:] == (0, 36 * 3 * 2 * channels, 0)


def test_global_avg_pool():
    x = randoms(2, 3, 5, 4)
    record, y = layer('global_avg_pool', x)
    np.testing.assert_allclose(y, x.reshape(2, 15, 4).mean(1), atol=1e-6)
    assert record[3:] == (0, 0, 0)


def test_concat():
    net = Net(training=False)
    one, two = randoms(2, 3, 3, 4), randoms(2, 3, 3, 2)
    y, = evaluate(net.concat('both', [tf.constant(one), tf.constant(two)]))
    np.testing.assert_array_equal(y[..., :4], one)
    np.testing.assert_array_equal(y[..., 4:], two)
    assert net.layers == [('both', 'concat', (3, 3, 6), 0, 0, 0)]


def dropped(x, rate, name='drop', **net_args):
    return evaluate(Net(True, **net_args).dropout(name, tf.constant(x), rate))[0]


@pytest.mark.parametrize('rate', [0.3, 0.5])
def test_dropout_keeps_the_mean(rate):
    y = dropped(np.ones([8, 50, 50, 4], np.float32), rate, step=tf.constant(3))
    assert set(np.unique(y)) == {0, np.float32(1 / (1 - rate))}
    assert abs(y.mean() - 1) < 0.02
    assert abs(y.mean((0, 1, 2)) - 1).max() < 0.05  # and each channel's


def test_dropout_follows_from_seed_name_and_step():
    x = np.ones([4, 100], np.float32)
    one = dropped(x, 0.5, step=tf.constant(3), seed=1)
    tf.random.uniform([2])  # an unrelated op
    np.testing.assert_array_equal(one, dropped(x, 0.5, step=tf.constant(3), seed=1))
    for other in (dropped(x, 0.5, step=tf.constant(4), seed=1),
                  dropped(x, 0.5, step=tf.constant(3), seed=2),
                  dropped(x, 0.5, 'drop2', step=tf.constant(3), seed=1)):
        assert 0.3 < (one != other).mean() < 0.7


def test_dropout_is_gone_in_inference():
    x = tf.ones([2, 3])
    assert Net(training=False).dropout('drop', x, 0.5) is x


def test_dropout_without_a_step_is_refused():
    with pytest.raises(ValueError, match='needs a step'):
        Net(training=True).dropout('drop', tf.ones([2, 3]), 0.5)


@pytest.mark.parametrize('stride, size', [(1, 3), (2, 3), (2, 1)])
def test_strides(stride, size):
    x = randoms(2, 6, 5, 3)
    record, y, w, b = layer('conv', x, 4, size, stride=stride)
    expected = np.zeros((2, 3, 3, 4) if stride == 2 else (2, 6, 5, 4))
    for (i, j), (part, top, left) in windows(x, size, stride).items():
        under = w[top:top + part.shape[1], left:left + part.shape[2]]
        expected[:, i, j] = np.maximum(np.tensordot(part, under, 3) + b, 0)
    np.testing.assert_allclose(y, expected, atol=1e-5)
    assert record.macs == w.size * expected[0, ..., 0].size


@pytest.mark.parametrize('stride', [1, 2])
def test_depthwise(stride):
    x = randoms(2, 6, 6, 3)
    record, y, w, b = layer('depthwise', x, 3, stride=stride)
    assert w.shape == (3, 3, 3, 1) and b.shape == (3,)
    expected = np.zeros((2, 6 // stride, 6 // stride, 3))
    for (i, j), (part, top, left) in windows(x, 3, stride).items():
        under = w[top:top + part.shape[1], left:left + part.shape[2], :, 0]
        expected[:, i, j] = np.maximum((part * under).sum((1, 2)) + b, 0)
    np.testing.assert_allclose(y, expected, atol=1e-5)
    macs = 27 * (6 // stride) ** 2
    assert record[3:] == (30, 2 * macs + 3 * expected[0].size, macs)


def test_separable_is_a_depthwise_and_a_pointwise_convolution():
    net = Net(training=False)
    y = net.separable('layer', tf.constant(randoms(2, 5, 5, 3)), 8, 3, stride=2, norm=True)
    assert y.shape.as_list() == [2, 3, 3, 8]
    assert [(part.name, part.kind, part.params, part.macs) for part in net.layers] == [
        ('layer/depthwise', 'depthwise', 27, 27 * 9),
        ('layer/pointwise', 'conv', 24 + 16, 24 * 9)]


def test_avg_pool():
    x = randoms(2, 5, 5, 3)
    _, y = layer('avg_pool', x)
    for (i, j), (part, _, _) in windows(x, 3, 2).items():
        np.testing.assert_allclose(y[:, i, j], part.mean((1, 2)), atol=1e-6)


def test_shortcut():
    x = randoms(2, 6, 6, 4)
    record, y = layer('shortcut', x, 8, 2)
    np.testing.assert_array_equal(y[..., 2:6], x[:, ::2, ::2])
    assert not y[..., :2].any() and not y[..., 6:].any() and record[3:] == (0, 0, 0)


def test_add_and_scale():
    net = Net(training=False)
    x, y = randoms(2, 3, 3, 4), randoms(2, 3, 3, 4) + 1
    both = net.scale('scale', net.add('add', tf.constant(x), tf.constant(y)), 0.5)
    np.testing.assert_allclose(evaluate(both)[0], (x + y) / 2, rtol=1e-6)
    assert [part.ops for part in net.layers] == [36, 36]


ACTIVATIONS = {
    'linear': lambda x: x,
    'relu': lambda x: max(x, 0),
    'celu': lambda x: max(0, x) + min(0, math.exp(x) - 1),
    'celu:0.3': lambda x: max(0, x) + min(0, 0.3 * (math.exp(x / 0.3) - 1)),
    'gelu': lambda x: x * 0.5 * math.erfc(-x / math.sqrt(2)),
    'sigmoid_gelu': lambda x: x / (1 + math.exp(-1.702 * x)),
    'silu': lambda x: x / (1 + math.exp(-x)),
}


@pytest.mark.parametrize('name', ACTIVATIONS)
def test_activations(name):
    x = np.linspace(-6, 6, 49).astype(np.float32).reshape(1, 49)
    net = Net(training=False)
    y, = evaluate(net.activate('act', tf.constant(x), name))
    np.testing.assert_allclose(y[0], [ACTIVATIONS[name](float(v)) for v in x[0]], atol=2e-6)
    if name == 'sigmoid_gelu':
        np.testing.assert_allclose(y[0], [ACTIVATIONS['gelu'](float(v)) for v in x[0]], atol=0.021)


def test_every_activation_is_tested():
    assert {name.split(':')[0] for name in ACTIVATIONS} == set(activations.ACTIVATIONS)
    with pytest.raises(ValueError, match='unknown activation'):
        activations.activate('swish', tf.ones([2]))


@pytest.mark.parametrize('activation', ['celu:0.3', 'gelu', 'silu'])
def test_convolutions_take_the_activation_of_the_net(activation):
    net = Net(training=False)
    net.activation = activation
    x = tf.constant(randoms(1, 4, 4, 3))
    y = net.conv('a', x, 5, 3)
    plain = net.conv('b', x, 5, 3, activation='linear')
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        a, b = [v for v in tf.global_variables() if 'weights' in v.name]
        b.load(session.run(a), session)
        found, before = session.run([y, plain])
    np.testing.assert_allclose(
        found.ravel(), [ACTIVATIONS[activation](float(v)) for v in before.ravel()], atol=1e-5)


# Ghost batch normalization


@pytest.mark.parametrize('count, group, sizes', [
    (8, 4, [4, 4]), (8, 0, [8]), (8, 16, [8]), (10, 4, [4, 6])])
def test_groups_are_normalized_apart(count, group, sizes):
    x = randoms(count, 3, 3, 5) + np.arange(count)[:, None, None, None]
    net = Net(training=True)
    net.norm_group, net.norm_scale, net.norm_decay = group, False, 0.6
    y = net.norm('bn', tf.constant(x.astype(np.float32)))
    updates = tf.get_collection(tf.GraphKeys.UPDATE_OPS)
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        found = session.run(y)
        session.run(updates)
        moved = {v.op.name: session.run(v) for v in tf.global_variables()}
    parts = np.split(x.astype(float), np.cumsum(sizes)[:-1])
    expected = [(part - part.mean((0, 1, 2))) / np.sqrt(part.var((0, 1, 2)) + net.norm_epsilon)
                for part in parts]
    np.testing.assert_allclose(found, np.concatenate(expected), atol=1e-4)
    means = np.mean([part.mean((0, 1, 2)) for part in parts], 0)
    variances = np.mean([part.reshape(-1, 5).var(0, ddof=1) for part in parts], 0)
    np.testing.assert_allclose(moved['bn/moving_mean'], 0.4 * means, rtol=1e-4)
    np.testing.assert_allclose(moved['bn/moving_variance'], 0.6 + 0.4 * variances, rtol=1e-4)
    assert {v.op.name for v in tf.trainable_variables()} == {'bn/beta'}


def test_groups_need_a_known_batch():
    net = Net(training=True)
    net.norm_group = 4
    with pytest.raises(ValueError, match='need a known batch size'):
        net.norm('bn', tf.placeholder(tf.float32, [None, 3, 3, 5]))


def test_rows_are_normalized_too():
    x = randoms(6, 5)
    net = Net(training=True)
    y, = evaluate(net.norm('bn', tf.constant(x)))
    np.testing.assert_allclose(y, (x - x.mean(0)) / np.sqrt(x.var(0) + net.norm_epsilon),
                               atol=1e-4)


# Whitening


def images_to_whiten():
    """Neighbouring pixels and channels go together, as in photographs."""
    noise = np.random.RandomState(5).randn(64, 12, 12, 3)
    smooth = noise + np.roll(noise, 1, 1) + np.roll(noise, 1, 2) + noise.mean(3, keepdims=True)
    return smooth.astype(np.float32)


@pytest.mark.parametrize('size, signs', [(3, False), (2, True)])
def test_whitened_patches_are_unrelated(size, signs):
    images = images_to_whiten()
    net = Net(training=True, sample=lambda: images)
    y = net.whiten('whiten', tf.constant(images), size, 1e-6, signs, padding='VALID')
    found, weights = evaluate(y, tf.global_variables()[0])
    count = 3 * size ** 2
    assert weights.shape == (size, size, 3, count * (2 if signs else 1))
    rows = found.reshape(-1, found.shape[-1])
    np.testing.assert_allclose(rows.T.dot(rows)[:count, :count] / len(rows), np.eye(count),
                               atol=1e-3)
    if signs:
        np.testing.assert_array_equal(found[..., count:], -found[..., :count])
    lengths = np.square(weights[..., :count]).sum((0, 1, 2))
    assert (np.diff(lengths) >= 0).all()  # 1 / variance: the largest component comes first
    assert not tf.trainable_variables()


def test_whitening_without_a_sample_is_random():
    net = Net(training=False, seed=4)
    net.whiten('whiten', tf.constant(images_to_whiten()), 2, 1e-2)
    weights, = evaluate(tf.global_variables()[0])
    assert np.isfinite(weights).all() and weights.std() > 0


# Initializers

# {name: (limits as multiples of the deviation, its deviation for 3x3 from 40 to 60 channels)}
SPREADS = {'glorot_normal': (2.28, (2 / 900) ** 0.5), 'glorot_uniform': (1.74, (2 / 900) ** 0.5),
           'he_normal': (6, (2 / 360) ** 0.5), 'he_normal_out': (6, (2 / 540) ** 0.5),
           'fan_in_uniform': (1.74, (1 / 3 / 360) ** 0.5), 'normal:0.05': (6, 0.05),
           'uniform:1': (1.74, 1)}


@pytest.mark.parametrize('name', SPREADS)
def test_initializers(name):
    values, = evaluate(initializers.initial(name, [3, 3, 40, 60], [1, 2]))
    most, deviation = SPREADS[name]
    assert values.dtype == np.float32 and abs(values.mean()) < 0.02 * deviation
    assert abs(values.std() / deviation - 1) < 0.02
    assert np.abs(values).max() < most * deviation


@pytest.mark.parametrize('channels, filters', [(4, 9), (9, 4), (5, 5)])
def test_dirac_passes_channels_on(channels, filters):
    values, = evaluate(initializers.initial('dirac', [3, 3, channels, filters], [1, 2]))
    x, kept = randoms(2, 4, 4, channels), min(channels, filters)
    np.testing.assert_allclose(convolved(x, values)[..., :kept], x[..., :kept], atol=1e-6)
    drawn = values[..., kept:]
    assert not drawn.size or drawn.std() > 0 and np.abs(drawn).max() < (9 * channels) ** -0.5


def test_every_initializer_is_tested():
    assert {name.split(':')[0] for name in SPREADS} | {'dirac'} == set(initializers.INITIALIZERS)
    with pytest.raises(ValueError, match='unknown initializer'):
        initializers.initial('xavier', [3, 3, 4, 5], [1, 2])
    values, = evaluate(initializers.initial('he_normal', [3, 3, 400, 1], [1, 2], depthwise=True))
    assert abs(values.std() / (2 / 9) ** 0.5 - 1) < 0.05
