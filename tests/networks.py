"""For tests: every model, small networks, and trainings in this process."""

import contextlib
from unittest import mock

import pytest

import models
from permafrost.config import Config
from permafrost.recipes import overrides
from permafrost.training import loop
from permafrost.training.setup import TrainSetup

# Like resnet20 but deeper: only the slow tests run them, the others just build them.
DEEP = ('resnet32', 'resnet44', 'resnet56', 'resnet110')
EVERY = [pytest.param(name, marks=pytest.mark.slow if name in DEEP else ())
         for name in sorted(models.MODELS)]


def tiny(net, x):
    """Build a network that trains in milliseconds a step, with dropout."""
    x = net.conv('conv1', x, 8, 5, stride=4)
    x = net.dropout('dropout1', x, 0.1)
    return net.fc('logits', x, net.num_classes, activation='linear')


def normed(net, x):
    """Build a batch-normalised network."""
    x = net.conv('conv1', x, 16, 5, norm=True)
    x = net.max_pool('pool1', x)
    x = net.conv('conv2', x, 24, 3, norm=True)
    x = net.max_pool('pool2', x)
    x = net.conv('conv3', x, net.num_classes, 1)
    return net.global_avg_pool('logits', x)


def pooled(net, x):
    """Build a network whose normalization follows the pool."""
    x = net.conv('conv1', x, 16, 5, bias=False, activation='linear')
    x = net.activate('act1', net.norm('norm1', net.max_pool('pool1', x)))
    return net.fc('logits', x, net.num_classes, activation='linear')


def activated(net, x):
    """Build a network that has every activation."""
    for activation in ('celu:0.3', 'linear', 'relu', 'sigmoid_gelu'):
        x = net.conv(activation.split(':')[0], x, 8, 3, activation=activation, stride=2)
    return net.fc('logits', x, net.num_classes, activation='linear')


@contextlib.contextmanager
def registered():
    """Context in which the networks of this module are models of their names."""
    with mock.patch.dict(models.MODELS, tiny=tiny, normed=normed, pooled=pooled,
                         activated=activated):
        yield


def train_setup(dataset, run, steps, model='tiny', changes=(), resume=False, **fields):
    """Return the TrainSetup of a small training; see train."""
    changes = ['batch_size=32', 'learning_rate=0.05', *changes]
    config = Config(model, overrides.get_recipe('tutorial', changes), steps, dataset=dataset.name,
                    data_dir=dataset.directory, train_images=dataset.counts['train'],
                    **dict({'summary_steps': 0, 'histogram_steps': 0, 'average_statistics': True},
                           **fields))
    return TrainSetup(config, dataset, run=str(run), resume=resume)


def train(dataset, run, steps, model='normed', **options):
    """Train a model in the directory `run`, in this process.

    Args:
      dataset: a Dataset.
      run: run directory, a str or Path; it must not contain a run unless resume=True.
      steps: number of steps.
      model: name of a model, or of a network of this module (registered while training).
      options: changes (recipe fields as for --set), resume, and fields of Config.
    """
    with registered():
        assert loop.train(train_setup(dataset, run, steps, model, **options)) == 0
