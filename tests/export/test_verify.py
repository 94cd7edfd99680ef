"""Verification refuses foreign operations and other logits, and nothing is written."""

import os

import pytest
import tensorflow.compat.v1 as tf

from permafrost.errors import UserError
from permafrost.export import freeze, graph_passes, verify


def _refused(run, tmp_path, match):
    with pytest.raises(UserError, match=match):
        freeze.freeze(run, None, output=str(tmp_path / 'a.pb'))
    assert not os.listdir(str(tmp_path))


def test_an_operation_that_is_not_allowed_is_refused(run, tmp_path, monkeypatch):
    monkeypatch.setattr(verify, 'ALLOWED_OPS', verify.ALLOWED_OPS - {'ConcatV2'})
    _refused(run, tmp_path, 'not written: ConcatV2 may not be')


def test_other_logits_are_refused(run, tmp_path, monkeypatch):
    def spoil(graph):
        for node in graph.node:
            if node.name == 'fire1/squeeze/weights':
                value = tf.make_ndarray(node.attr['value'].tensor) * 1.01
                node.attr['value'].tensor.CopyFrom(tf.make_tensor_proto(value))
        return graph
    monkeypatch.setattr(graph_passes, 'PASSES', graph_passes.PASSES + (spoil,))
    _refused(run, tmp_path, "logits of the frozen graph differ from eval's by")
