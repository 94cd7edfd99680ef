"""Graphs with operations, placeholders or devices that do not belong in inference."""

import json
import re

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from permafrost.evaluation.frozen_graphs import graph_def
from tests.label_image.program import (
    ENGINES,
    OWN,
    classify,
    colours,
    expected,
    library,
    noise,
    softmax,
    write_graph,
)


# Operations between `images` and `predictions` that do not belong in inference.
def _variable(x):
    return x * tf.Variable(2., use_resource=False, name='v')


def _queue(x):
    queue = tf.FIFOQueue(1, tf.float32)
    return x * tf.reshape(queue.dequeue(), [])


def _file(x):
    return x + tf.cast(tf.strings.length(tf.io.read_file('/etc/passwd')), tf.float32)


def _written(x):
    with tf.control_dependencies([tf.io.write_file('never', 'x')]):
        return tf.identity(x)


def _python(x):
    return tf.py_func(lambda y: y, [x], tf.float32)


@pytest.mark.parametrize('add_op, op', [
    (_queue, 'QueueDequeue'), (_file, 'ReadFile'),
    (_written, 'WriteFile'), (_python, 'PyFunc')])
def test_forbidden_operation_is_named(error_line, picture, tmp_path, add_op, op):
    def build():
        images = tf.placeholder(tf.uint8, [None, 32, 32, 3], name='images')
        pixels = tf.reshape(add_op(tf.cast(images, tf.float32)), [-1, 32, 32, 3])
        tf.identity(tf.reduce_mean(pixels, [1, 2]), name='predictions')
    path = write_graph(tmp_path / 'forbidden.pb', build)
    line = error_line(1, '--graph=' + path, OWN, picture)
    assert 'not allowed in inference' in line and '--allow_any_op' in line
    assert re.search(rf' \w*{op}\w* \(', line), line


def test_variables_are_not_frozen(error_line, picture, tmp_path):
    def build():
        images = tf.placeholder(tf.uint8, [None, 32, 32, 3], name='images')
        tf.reduce_mean(_variable(tf.cast(images, tf.float32)), [1, 2], name='predictions')
    path = write_graph(tmp_path / 'variable.pb', build)
    line = error_line(1, '--graph=' + path, OWN, picture)
    assert "is not frozen" in line and "VariableV2 'v'" in line


def test_allow_any_op_runs_forbidden_operations(program, picture, tmp_path):
    (tmp_path / 'three').write_bytes(b'123')

    def build():
        images = tf.placeholder(tf.uint8, [None, 32, 32, 3], name='images')
        size = tf.strings.length(tf.io.read_file(str(tmp_path / 'three')))
        means = tf.reduce_mean(tf.cast(images, tf.float32), [1, 2])
        tf.identity(means * 0 + tf.cast(size, tf.float32) * [0., 1., 0.], name='predictions')
    path = write_graph(tmp_path / 'reads.pb', build)
    out = program('--graph=' + path, OWN, '--allow_any_op', '--top=1', picture)
    assert f'{100 * softmax(np.array([0., 3., 0.]))[1]:.2f}' in out


def test_second_placeholder_is_named(error_line, tmp_path):
    def build():
        images = tf.placeholder(tf.uint8, [None, 32, 32, 3], name='images')
        scale = tf.placeholder(tf.float32, [], name='phase_train')
        tf.identity(tf.reduce_mean(tf.cast(images, tf.float32), [1, 2]) * scale, 'predictions')
    path = write_graph(tmp_path / 'two.pb', build)
    assert "--feed phase_train=VALUE" in error_line(2, '--graph=' + path, OWN, '--benchmark')


@pytest.mark.parametrize('threads', [1, 2])
@pytest.mark.parametrize('engine', ENGINES)
def test_control_flow_runs_at_any_number_of_threads(program, tmp_path, engine, threads):
    def build():
        images = tf.placeholder(tf.uint8, [None, 32, 32, 3], name='images')
        means = tf.reduce_mean(tf.cast(images, tf.float32), [1, 2])
        training = tf.placeholder_with_default(False, [], name='training')
        no, yes = tf.raw_ops.Switch(data=means, pred=training)
        tf.raw_ops.Merge(inputs=[no, yes * 0], name='merged')
        tf.identity(tf.get_default_graph().get_tensor_by_name('merged:0'), name='predictions')
    path = write_graph(tmp_path / 'switch.pb', build)
    answer = json.loads(program('--graph=' + path, library(engine), '--benchmark', '--json',
                                '--runs=3', '--repeats=1', f'--threads={threads}', '--profile'))
    assert answer['latency_ms']['min'] > 0 and answer['profile']


def test_device_placements_are_ignored(program, picture, tmp_path):
    def build():
        with tf.device('/job:worker/task:3/device:GPU:1'):
            colours()()
    path = write_graph(tmp_path / 'placed.pb', build)
    assert classify(program, path, picture)[0] == pytest.approx(
        expected(noise(32, 32)), abs=1e-4)


@pytest.mark.parametrize('keep', [1., 0.5])
def test_dropout_must_be_switched_off(error_line, picture, program, tmp_path, keep):
    def build():
        images = tf.placeholder(tf.uint8, [None, 32, 32, 3], name='images')
        kept = tf.placeholder_with_default(keep, [], name='share')
        pixels = tf.nn.dropout(tf.cast(images, tf.float32), rate=1 - kept)
        tf.identity(tf.reduce_mean(pixels, [1, 2]), name='predictions')
    flags = '--graph=' + write_graph(tmp_path / 'dropout.pb', build), OWN, picture
    if keep == 1:
        assert '%' in program(*flags)
    else:
        line = error_line(1, *flags)
        assert 'gives a different answer on every run' in line and 'RandomUniform' in line
        assert '%' in program(*flags, '--feed=share=1')


@pytest.mark.slow
def test_a_chain_of_40000_nodes_does_not_overflow_the_stack(program, picture, tmp_path):
    def build():
        images = tf.placeholder(tf.uint8, [None, 32, 32, 3], name='images')
        tf.reduce_mean(tf.cast(images, tf.float32), [1, 2], name='predictions')
    path = write_graph(tmp_path / 'chain.pb', build)
    graph = graph_def.read_graph(path)
    last = next(node for node in graph.node if node.name == 'predictions')
    last.name = 'n0'
    for number in range(40000):
        node = graph.node.add(name=f'n{number + 1}', op='Identity', input=[f'n{number}'])
        node.attr['T'].type = tf.float32.as_datatype_enum
    node.name = 'predictions'
    with open(path, 'wb') as stream:
        stream.write(graph.SerializeToString())
    assert '%' in program('--graph=' + path, OWN, '--allow_any_op', picture)


def test_memory_limit_is_that_of_reading_the_graph_too(error_line, picture, tmp_path):
    """Each of four million empty attributes is two bytes in the file, and 32 in the program."""
    node = b'\n\1n\x12\4NoOp' + b'\x2a\0' * (4 << 20)
    length = bytes(len(node) >> shift & 127 | 128 for shift in (0, 7, 14)) + bytes(
        [len(node) >> 21])
    (tmp_path / 'attributes.pb').write_bytes(b'\n' + length + node)
    line = error_line(1, f'--graph={tmp_path}/attributes.pb', OWN, '--memory_limit=50', picture)
    assert 'not enough memory (limit: 50 MB, set by --memory_limit)' in line


def _large_graph(folder, rows):
    """Write a graph that makes a tensor of `rows` times 4 MiB."""
    def build():
        images = tf.placeholder(tf.uint8, [None, 32, 32, 3], name='images')
        means = tf.reduce_mean(tf.cast(images, tf.float32), [1, 2])
        large = tf.fill([rows, 1 << 20], tf.reduce_max(means))
        tf.add(means, tf.reduce_max(large), name='predictions')
    return write_graph(folder / 'large.pb', build)


@pytest.mark.parametrize('flags, limit', [
    ([], r'\(limit: \d+ MB; --memory_limit changes it\)\n$'),
    (['--memory_limit=500'], r'\(limit: 500 MB, set by --memory_limit\)\n$')])
def test_a_lack_of_memory_names_the_limit(error_line, picture, tmp_path, flags, limit):
    path = _large_graph(tmp_path, 1 << 20)  # 4 TB
    line = error_line(1, '--graph=' + path, OWN, '--allow_any_op', picture, *flags)
    assert re.search(limit, line), line


@pytest.mark.slow
def test_memory_limit_is_one_line(error_line, picture, tmp_path):
    path = _large_graph(tmp_path, 1 << 10)  # 4 GB
    line = error_line(1, '--graph=' + path, OWN, '--allow_any_op', '--memory_limit=500', picture)
    assert 'OOM' in line or 'memory' in line
