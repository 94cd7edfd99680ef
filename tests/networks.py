"""The models to test, and a batch-normalised network that is none of the published tables'."""

import contextlib
from unittest import mock

import pytest

import models
from permafrost import runs
from permafrost.config import Config
from permafrost.recipes import overrides
from permafrost.training import loop

# The same as resnet20, but deeper: what is run, not only built, is theirs in the slow tests.
DEEP = ('resnet32', 'resnet44', 'resnet56', 'resnet110')
EVERY = [pytest.param(name, marks=pytest.mark.slow if name in DEEP else ())
         for name in sorted(models.MODELS)]


def normed(net, x):
    x = net.conv('conv1', x, 16, 5, norm=True)
    x = net.max_pool('pool1', x)
    x = net.conv('conv2', x, 24, 3, norm=True)
    x = net.max_pool('pool2', x)
    x = net.conv('conv3', x, net.num_classes, 1)
    return net.global_avg_pool('logits', x)


def activated(net, x):
    """Has every activation."""
    for activation in ('celu:0.3', 'gelu', 'linear', 'relu', 'sigmoid_gelu', 'silu'):
        x = net.conv(activation.split(':')[0], x, 8, 3, activation=activation, stride=2)
    return net.fc('logits', x, net.num_classes, activation='linear')


@contextlib.contextmanager
def registered():
    """Makes `normed` and `activated` models of these names meanwhile."""
    with mock.patch.dict(models.MODELS, normed=normed, activated=activated):
        yield


def train(dataset, run, steps):
    """Trains `normed`, which must be registered, in the directory `run`."""
    recipe = overrides.get_recipe('tutorial', ['batch_size=32', 'learning_rate=0.05'])
    settings = Config('normed', recipe, steps, dataset=dataset.name,
                             data_dir=dataset.directory, summary_steps=0, histogram_steps=0)
    code = loop.train(settings, dataset, lambda: runs.create('', 'normed', run), None)
    assert code == 0
