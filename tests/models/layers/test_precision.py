"""Convolutions in bfloat16: what they round, where they are not to be had, and what is said."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from models.layers.net import Net
from permafrost import runtime
from permafrost.config import Config
from permafrost.errors import UsageError, UserError
from permafrost.recipes import overrides
from permafrost.training import graph

tf.disable_v2_behavior()
tf.enable_resource_variables()
on_tf2 = pytest.mark.skipif(runtime.installed() != 'tf2', reason='only tf2 has bfloat16')


def _gradient(precision, is_training=True):
    """(graph, gradient by the weights, output) of a convolution whose numbers are all random."""
    rng = np.random.RandomState(0)
    arrays = [rng.randn(8, 12, 12, channels).astype(np.float32) for channels in (16, 32)]
    with tf.Graph().as_default() as graph:
        net = Net(is_training, precision=precision, seed=3)
        feeds = [tf.placeholder(tf.float32, array.shape) for array in arrays]
        y = net.conv('conv', feeds[0], 32, 3, activation='linear')
        gradient, = tf.gradients(y * feeds[1], tf.trainable_variables()[:1])
        with tf.Session() as session:
            session.run(tf.global_variables_initializer())
            return [graph] + session.run([gradient, y], dict(zip(feeds, arrays)))


@on_tf2
def test_convolutions_are_rounded_and_nothing_else():
    graph, *rounded = _gradient('bfloat16')
    _, *exact = _gradient('float32')
    for one, other in zip(rounded, exact):
        assert one.dtype == np.float32
        error = np.sqrt(np.mean((one - other) ** 2) / np.mean(other ** 2))
        assert 1e-4 < error < 1e-2
    assert {v.dtype.base_dtype for v in graph.get_collection('variables')} == {tf.float32}
    kinds = {op.type for op in graph.get_operations()
             if op.type != 'Cast' and any(t.dtype == tf.bfloat16 for t in op.inputs)}
    assert kinds - {'ShapeN'} == {'Conv2D', 'Conv2DBackpropFilter', 'Conv2DBackpropInput'}


def test_inference_is_never_rounded():
    graph, *_ = _gradient('bfloat16', is_training=False)
    assert tf.bfloat16 not in {t.dtype for op in graph.get_operations() for t in op.outputs}


@pytest.mark.parametrize('name, flags, expected', [
    ('tf2', 'avx2 avx512_bf16', True), ('tf2', 'amx_bf16 sse', True), ('tf2', 'avx512f', False),
    ('tf2', '', False), ('tf1', 'avx512_bf16', False), ('tf1-mkl', 'avx512_bf16', False)])
def test_where_it_is_to_be_had(monkeypatch, name, flags, expected):
    monkeypatch.setattr(runtime, '_cpu', lambda field: {'flags': flags}[field])
    assert runtime.has_bfloat16(name) == expected


def test_it_is_said_where_it_is_not(monkeypatch, capsys):
    monkeypatch.setattr(runtime, 'has_bfloat16', lambda name: False)
    assert overrides.with_supported_precision(overrides.get_recipe('sprint')).precision == 'float32'
    assert 'note: precision float32, not bfloat16' in capsys.readouterr().out
    assert overrides.with_supported_precision(overrides.get_recipe('tutorial')) == overrides.get_recipe('tutorial')
    assert not capsys.readouterr().out


def test_a_run_in_bfloat16_goes_on_where_that_is(monkeypatch):
    monkeypatch.setattr(runtime, 'installed', lambda: 'tf1')
    settings = Config('lenet5', overrides.get_recipe('lenet5', ['precision=bfloat16']), 1)
    with tf.Graph().as_default(), pytest.raises(UserError, match='resume it with tf2'):
        graph.build_train_graph(settings, 10, tf.zeros([4, 32, 32, 3]), tf.zeros([4], tf.int64))


def test_a_wrong_precision_is_refused():
    with pytest.raises(UsageError, match='bfloat16, float32'):
        overrides.get_recipe('sprint', ['precision=float16'])
