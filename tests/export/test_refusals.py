"""What is not written, or goes wrong in writing: one line, and the old files stay."""

import os
import shutil
import subprocess

import pytest
import tensorflow.compat.v1 as tf

from permafrost.errors import UserError
from permafrost.export import freeze, graph_passes
from tests import processes


def test_an_operation_that_has_no_place_is_refused(run, tmp_path, monkeypatch):
    monkeypatch.setattr(graph_passes, 'ALLOWED_OPS', graph_passes.ALLOWED_OPS - {'ConcatV2'})
    with pytest.raises(UserError, match='not written: ConcatV2 may not be'):
        freeze.freeze(run, None, output=str(tmp_path / 'a.pb'))
    assert not os.listdir(str(tmp_path))


def test_other_logits_are_refused(run, tmp_path, monkeypatch):
    def spoilt(graph):
        for node in graph.node:
            if node.name == 'fire1/squeeze/weights':
                value = tf.make_ndarray(node.attr['value'].tensor) * 1.01
                node.attr['value'].tensor.CopyFrom(tf.make_tensor_proto(value))
        return graph
    monkeypatch.setattr(graph_passes, 'fold_batch_norm', spoilt)
    with pytest.raises(UserError, match="logits differ from eval's by"):
        freeze.freeze(run, None, output=str(tmp_path / 'a.pb'))
    assert not os.listdir(str(tmp_path))


def _with_old_files(directory):
    """Files of an earlier freeze, and {name: content}."""
    for name in ('a.pb', 'a.json'):
        with open(os.path.join(str(directory), name), 'w') as stream:
            stream.write('old')
    return dict.fromkeys(['a.pb', 'a.json'], 'old')


def _contents(directory):
    found = {}
    for name in os.listdir(str(directory)):
        with open(os.path.join(str(directory), name)) as stream:
            found[name] = stream.read()
    return found


def test_a_failure_leaves_the_files_there_were(run, tmp_path, monkeypatch):
    old = _with_old_files(tmp_path)

    def fail(handle):
        raise OSError(5, 'Input/output error')
    monkeypatch.setattr(os, 'fsync', fail)
    with pytest.raises(UserError, match=r'cannot write .*a.pb \(Input/output error\)'):
        freeze.freeze(run, None, output=str(tmp_path / 'a.pb'))
    assert _contents(tmp_path) == old


def _refused(code, *arguments):
    output = processes.finish(processes.command('freeze_graph.py', *arguments), code)
    lines = [line for line in output.splitlines() if line.startswith('error: ')]
    assert len(lines) == 1, output
    return lines[0]


def test_a_full_disk(run, tmp_path):
    mount = ['mount', '-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', str(tmp_path)]
    if subprocess.call(mount, stderr=subprocess.DEVNULL):
        pytest.skip('mounting a small tmpfs takes root')
    try:
        old = _with_old_files(tmp_path)
        assert 'No space left on device' in _refused(
            1, '--run=' + run, '--output=%s' % (tmp_path / 'a.pb'))
        assert _contents(tmp_path) == old
    finally:
        subprocess.check_call(['umount', str(tmp_path)])


def test_mistakes_are_one_line(run, tmp_path):
    (tmp_path / 'file').write_text('')
    assert 'not a run directory' in _refused(1, '--run=%s' % (tmp_path / 'none'))
    assert 'no run under' in _refused(1, '--log_dir=%s' % (tmp_path / 'none'))
    assert 'must end in .pb' in _refused(2, '--run=' + run, '--output=a.json')
    assert 'no checkpoint of step 5' in _refused(2, '--run=' + run, '--step=5')
    assert 'averaged' in _refused(2, '--run=' + run, '--weights=avreaged')
    assert 'cannot write' in _refused(1, '--run=' + run, '--output=%s' % (tmp_path / 'file/a.pb'))
    assert 'is there already' in _refused(1, '--run=' + run, '--saved_model=%s' % tmp_path)
    empty = str(tmp_path / 'empty')
    shutil.copytree(run, empty, ignore=shutil.ignore_patterns('model.ckpt*'))
    assert 'no checkpoint in' in _refused(1, '--run=' + empty)
    assert sorted(os.listdir(str(tmp_path))) == ['empty', 'file'], 'mistakes leave nothing behind'
