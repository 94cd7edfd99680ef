"""Fixtures for all tests: datasets, the mode of TensorFlow, scripts run as a user runs them."""

import functools
import os
import signal
import subprocess
import sys

import pytest

from permafrost.datasets import loading
from permafrost.datasets.synthetic import make_synthetic

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


# Tests send these to scripts, which inherit that nohup ignores SIGHUP and that `&` ignores SIGINT.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)


# The rooms whose slow tests CI runs with both TensorFlow 1.15 and 2.
OF_ENGINE = tuple(os.path.join(ROOT, 'tests', room, '')
                  for room in ('cluster', 'evaluation', 'export', 'training', 'transfer'))


def pytest_collection_modifyitems(items):
    """Mark the tests that need CIFAR-10, and those of the rooms that depend on the engine."""
    for item in items:
        if 'cifar10' in getattr(item, 'fixturenames', ()):
            item.add_marker('real_data')
        if str(item.fspath).startswith(OF_ENGINE):
            item.add_marker('depends_on_engine')


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup():
    """Set TensorFlow's mode if a test file has imported it; the other tests do without."""
    if 'tensorflow' in sys.modules:
        _use_graphs()


@functools.lru_cache(None)
def _use_graphs():
    """Set the mode that permafrost.engines.prepare sets: graphs and resource variables."""
    import tensorflow.compat.v1 as tf
    tf.disable_v2_behavior()
    tf.enable_resource_variables()


@pytest.fixture(scope='session')
def synthetic(tmp_path_factory):
    """A Dataset of 640 training and 500 test images that a model learns in a few steps."""
    return make_synthetic(str(tmp_path_factory.mktemp('synthetic')), train=640, test=500)


@pytest.fixture(scope='session')
def cifar10():
    """The real Dataset, from `make data`. A test fails if it is missing."""
    return loading.open_dataset('cifar10')


@pytest.fixture(scope='session')
def python():
    """Return python(script, *arguments, **environment), which runs a script of this repository.

    It returns subprocess's CompletedProcess with stdout and stderr as text.
    """
    def run(*arguments, **environment):
        return subprocess.run(
            [sys.executable] + [str(argument) for argument in arguments], cwd=ROOT,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            universal_newlines=True, timeout=570, env=dict(os.environ, **environment))
    return run


@pytest.fixture
def default_graph():
    """A TensorFlow graph for this test alone."""
    import tensorflow.compat.v1 as tf  # other tests do without it
    _use_graphs()
    with tf.Graph().as_default():
        yield


@pytest.fixture(scope='session')
def trained_normed(synthetic, tmp_path_factory):
    """A run of 60 steps of the batch-normalized network."""
    directory = str(tmp_path_factory.mktemp('frozen') / 'normed')
    from tests import networks  # imports TensorFlow
    networks.train(synthetic, directory, 60)
    return directory
