"""What tests share: data sets, and scripts run as a user runs them."""

import os
import subprocess
import sys

import pytest

from permafrost.datasets import loading
from permafrost.datasets.synthetic import make_synthetic

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def pytest_collection_modifyitems(items):
    """Marks what needs CIFAR-10, for where it cannot be had, such as the build of an image."""
    for item in items:
        if 'cifar10' in getattr(item, 'fixturenames', ()):
            item.add_marker('real_data')


@pytest.fixture(scope='session')
def synthetic(tmp_path_factory):
    """A DataSet of 640 training and 500 test images that a model learns in a few steps."""
    return make_synthetic(str(tmp_path_factory.mktemp('synthetic')), train=640, test=500)


@pytest.fixture(scope='session')
def cifar10():
    """The real DataSet; `make data` brings it. Missing, it fails the test: it is no extra."""
    return loading.open_dataset('cifar10')


@pytest.fixture(scope='session')
def python():
    """python(script, *arguments, **environment): runs a script of this repository.

    Returns subprocess's CompletedProcess with stdout and stderr as text.
    """
    def run(*arguments, **environment):
        return subprocess.run(
            [sys.executable] + [str(argument) for argument in arguments], cwd=ROOT,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            universal_newlines=True, timeout=570, env=dict(os.environ, **environment))
    return run


@pytest.fixture
def default_graph():
    """A TensorFlow graph of the test's own."""
    import tensorflow.compat.v1 as tf  # not for tests that do without
    with tf.Graph().as_default():
        yield
