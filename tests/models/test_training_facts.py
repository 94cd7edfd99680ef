"""Facts of the networks that only training uses: their papers or authors publish them."""

import inspect

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

import models
from models.layers.net import Net
from permafrost.recipes import catalog

PYTORCH = {'initializer': 'pytorch_default', 'norm_epsilon': 1e-5}
TRICKS = {**PYTORCH, 'ghost_batch_size': 32, 'norm_scale': False, 'whiten': [1e-2],
          'multiply': [1 / 16]}
# By model: what differs from Net's own settings; the arguments of layers, in order.
FACTS = {
    'nin2': {'dropout': [.5, .5]},
    'nin_bn': {'initializer': 'normal:0.05', 'dropout': [.5, .5]},
    'cifarnet': {'dropout': [.5]},
    'vgg_bn_drop': {'initializer': 'he_normal_fan_out',
                    'dropout': [.3, *[.4] * 7, .5, .5]},
    **{f'resnet{depth}': {'initializer': 'he_normal'} for depth in (20, 32, 44, 56, 110)},
    'xception_mini': {'initializer': 'he_normal'},
    'davidnet': {**PYTORCH, 'multiply': [.125]},
    'davidnet_tricks': TRICKS,
    'davidnet_tricks_unwhitened': {name: TRICKS[name] for name in TRICKS if name != 'whiten'},
    'davidnet_tricks_normscale': {name: TRICKS[name] for name in TRICKS if name != 'norm_scale'},
    'davidnet_tricks_wholebatch': {
        name: TRICKS[name] for name in TRICKS if name != 'ghost_batch_size'},
    'davidnet_tricks_scale8': {**TRICKS, 'multiply': [1 / 8]},
    'sprint': {'initializer': 'dirac', 'norm_decay': .6, 'norm_epsilon': 1e-5,
               'norm_scale': False, 'whiten': [5e-4], 'multiply': [1 / 256]},
}
SETTINGS = ('initializer', 'norm_decay', 'norm_epsilon', 'ghost_batch_size', 'norm_scale')
ARGUMENTS = {'dropout': 'rate', 'whiten': 'epsilon', 'multiply': 'factor'}


def _recorded(layer, values):
    """Return the method `layer` of Net, which then also appends its argument to `values`."""
    method = getattr(Net, layer)

    def call(*args, **kwargs):
        bound = inspect.signature(method).bind(*args, **kwargs)
        values.append(bound.arguments[ARGUMENTS[layer]])
        return method(*args, **kwargs)
    return call


def _facts(name, monkeypatch):
    values = {layer: [] for layer in ARGUMENTS}
    for layer in ARGUMENTS:
        monkeypatch.setattr(Net, layer, _recorded(layer, values[layer]))
    size = catalog.image_size(name)
    images = np.random.RandomState(1).rand(8, size, size, 3).astype(np.float32)
    net = Net(training=True, step=tf.constant(0), sample_images=lambda: images)
    before = {each: getattr(net, each) for each in SETTINGS}
    models.build(name, net, tf.constant(images[:4]))
    found = {layer: each for layer, each in values.items() if each}
    return {**found, **{each: getattr(net, each) for each in SETTINGS
                        if getattr(net, each) != before[each]}}


@pytest.mark.parametrize('name', sorted(models.ALL))
def test_a_network_trains_as_published(name, default_graph, monkeypatch):
    own = {'davidnet': FACTS['davidnet']} if name.startswith('davidnet_') else {}
    own.update({'davidnet': TRICKS} if name.startswith('davidnet_tricks') else {})
    assert _facts(name, monkeypatch) == FACTS.get(name, own.get('davidnet', {}))
