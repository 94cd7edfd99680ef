"""The list of what a graph from someone else may have: Python and C++ accept the same graphs."""

import os
import subprocess
import sys

import numpy as np
import PIL.Image
import pytest
import tensorflow.compat.v1 as tf

from permafrost.errors import UserError
from permafrost.evaluation.frozen_graphs import allowed_ops, graph_def
from permafrost.evaluation.frozen_graphs.allowed_ops import ALLOWED
from permafrost.export.verify import ALLOWED_OPS
from tests.label_image import program
from tools.dev import fuzz_graphs

FLOAT, INT32 = tf.float32.as_datatype_enum, tf.int32.as_datatype_enum


def chain(op, inputs=('pixels',), **attributes):
    """Return images -> pixels -> `op` -> predictions; `inputs` may hold arrays for constants."""
    graph = tf.GraphDef()
    graph.versions.producer = 134
    images = graph.node.add(name='images', op='Placeholder')
    images.attr['dtype'].type = tf.uint8.as_datatype_enum
    images.attr['shape'].shape.CopyFrom(tf.TensorShape([None, 32, 32, 3]).as_proto())
    pixels = graph.node.add(name='pixels', op='Cast', input=['images'])
    pixels.attr['SrcT'].type, pixels.attr['DstT'].type = tf.uint8.as_datatype_enum, FLOAT
    node = tf.NodeDef(name='node', op=op)
    for number, source in enumerate(inputs):
        if not isinstance(source, str):
            constant = graph.node.add(name=f'constant{number}', op='Const')
            proto = tf.make_tensor_proto(source)
            constant.attr['dtype'].type = proto.dtype
            constant.attr['value'].tensor.CopyFrom(proto)
            source = constant.name
        node.input.append(source)
    if not any(isinstance(source, str) for source in inputs):
        node.input.append('^pixels')
    for name, value in attributes.items():
        if isinstance(value, list):
            node.attr[name].list.i.extend(value)
        elif isinstance(value, bytes):
            node.attr[name].s = value
        elif isinstance(value, tf.DType):
            node.attr[name].type = value.as_datatype_enum
        elif isinstance(value, tf.AttrValue):
            node.attr[name].CopyFrom(value)
        else:
            node.attr[name].i = value
    graph.node.append(node)
    graph.node.add(name='predictions', op='Identity', input=['node']).attr['T'].type = FLOAT
    return graph


def conv(weights=(3, 3, 3, 4), **changes):
    attributes = {'T': tf.float32, 'strides': [1, 1, 1, 1], 'padding': b'SAME', **changes}
    return chain('Conv2D', ['pixels', np.ones(weights, np.float32)], **attributes)


def fill(*sizes):
    return chain('Fill', [np.array(sizes, np.int32), np.float32(1)], T=tf.float32,
                 index_type=tf.int32)


def internal():
    graph = chain('Relu', T=tf.float32)
    graph.node[-1].attr['_kernel'].i = 7  # removed before TensorFlow sees it
    return graph


def long_chain(count):
    graph = chain('Relu', T=tf.float32)
    last = graph.node[-1]
    for number in range(count):
        node = graph.node.add(name=f'n{number}', op='Relu', input=[last.input[0]])
        node.attr['T'].type, last.input[0] = FLOAT, node.name
    return graph


def repeated(*sizes):
    graph = chain('Fill', [np.array([2], np.int32), np.float32(1)], T=tf.float32)
    shape = graph.node[3].attr['value'].tensor.tensor_shape
    for size in sizes:
        shape.dim.add(size=size)
    return graph


def work(side, channels):
    """A convolution over an image that was made large and deep."""
    graph = chain('Tile', ['pixels', np.array([1, side, side, channels], np.int32)], T=tf.float32,
                  Tmultiples=tf.int32)
    weights = graph.node.add(name='weights', op='Fill', input=['sizes', 'one'])
    weights.attr['T'].type, weights.attr['index_type'].type = FLOAT, INT32
    for name, value in (('sizes', np.array([11, 11, 3 * channels, 1000], np.int32)),
                        ('one', np.float32(1))):
        constant = graph.node.add(name=name, op='Const')
        proto = tf.make_tensor_proto(value)
        constant.attr['dtype'].type = proto.dtype
        constant.attr['value'].tensor.CopyFrom(proto)
    node = graph.node.add(name='conv', op='Conv2D', input=['node', 'weights'])
    node.attr['T'].type, node.attr['padding'].s = FLOAT, b'SAME'
    node.attr['strides'].list.i.extend([1, 4, 4, 1])
    graph.node[-5].input[0] = 'conv'
    return graph


def value(**fields):
    return tf.AttrValue(**fields)


# Graphs, and a part of the message by which both programs refuse them; None: both accept them.
CASES = {
    'relu': (lambda: chain('Relu', T=tf.float32), None),
    'internal attribute': (internal, None),
    'convolution': (conv, None),
    'explicit padding': (lambda: conv(padding=b'EXPLICIT',
                                      explicit_paddings=[0, 0, 1, 1, 1, 1, 0, 0]), None),
    'long': (lambda: long_chain(15000), None),
    'too long': (lambda: long_chain(40000), 'more than 20000'),
    'file': (lambda: chain('WriteFile', [np.array(b'never'), np.array(b'x')]), 'WriteFile'),
    'unknown': (lambda: chain('NoSuchOperation'), 'NoSuchOperation'),
    'function call': (lambda: chain('PartitionedCall'), 'PartitionedCall'),
    'integer division': (lambda: chain('Div', ['pixels', 'pixels'], T=tf.int32),
                         "has type 3 in attribute 'T', which is not allowed"),
    'int64 paddings': (lambda: chain('Pad', ['pixels', np.zeros((4, 2), np.int64)], T=tf.float32,
                                     Tpaddings=tf.int64), "has type 9 in attribute 'Tpaddings'"),
    'resource': (lambda: chain('Identity', T=tf.resource), "has type 20 in attribute 'T'"),
    'reference': (lambda: chain('Identity', T=value(type=101)), "has type 101 in attribute 'T'"),
    'unknown attribute': (lambda: chain('Relu', T=tf.float32, colour=3),
                          "has a number in attribute 'colour', which is not known"),
    'function attribute': (lambda: chain('Relu', T=tf.float32, f=value(
        func=tf.NameAttrList(name='g'))), "has a value of an unknown kind in attribute 'f'"),
    'tensor attribute': (lambda: chain('Relu', T=tf.float32, t=value(
        tensor=tf.make_tensor_proto(1.))), "has a value of an unknown kind in attribute 't'"),
    'shape attribute': (lambda: chain('Relu', T=tf.float32, shape=value(
        shape=tf.TensorShape([2 ** 40]).as_proto())),
                        "has an impossible shape in attribute 'shape'"),
    'shape attribute whose product overflows': (lambda: chain('Relu', T=tf.float32, shape=value(
        shape=tf.TensorShape([2 ** 26, 2 ** 26, 2 ** 62]).as_proto())),
                                                "has an impossible shape in attribute 'shape'"),
    'empty filter': (lambda: conv((3, 3, 0, 4)), 'has no elements'),
    'empty vector': (lambda: chain('Relu', [np.ones(0, np.float32)], T=tf.float32),
                     'reads a tensor without elements'),
    'repeated value': (lambda: repeated(2 ** 23), 'expands constants to too many elements'),
    'negative shape': (lambda: repeated(-1), 'shape'),
    'large tensor': (lambda: fill(2 ** 13, 2 ** 14), 'returns a tensor of 134217728 elements'),
    'large for one image': (lambda: chain('Tile', ['pixels', np.array([1, 1000, 100, 1], np.int32)],
                                          T=tf.float32, Tmultiples=tf.int32),
                            'returns a tensor of 307200000 elements'),
    'much work': (lambda: work(30, 10), 'makes the graph too large for the images that it '
                  'takes at once'),
    'missing type': (lambda: chain('Relu'), "'T'"),
}
CASES.update({
    f'{attribute}={number}': (
        lambda attribute=attribute, number=number: (
            conv(**{attribute: [1, number, number, 1]}) if attribute != 'ksize' else
            chain('MaxPool', T=tf.float32, ksize=[1, number, number, 1], strides=[1, 1, 1, 1],
                  padding=b'SAME')),
        f"has {number} in attribute '{attribute}', which must be from 1 to ")
    for attribute in ('strides', 'dilations', 'ksize')
    for number in (0, -1, 4097, 2 ** 31, -2 ** 62)})


def write(graph, path):
    with open(str(path), 'wb') as stream:
        stream.write(graph.SerializeToString())


def run_cpp(folder, graphs):
    """Run {name: graph} by C++, in one process; return {name: (exit code, last line)}."""
    program.make(os.path.join('build', 'fuzz', 'run_graphs'))
    PIL.Image.fromarray(program.noise(32, 32)).save(str(folder / 'image.png'))
    paths = {}
    for name, graph in graphs.items():
        paths[str(folder / f'{len(paths)}.pb')] = name
        write(graph, list(paths)[-1])
    before = sorted(os.listdir(str(folder)))
    process = subprocess.run(
        [os.path.join(program.FOLDER, 'build', 'fuzz', 'run_graphs'), sys.prefix,
         str(folder / 'image.png'), *paths], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        universal_newlines=True, check=True, cwd=str(folder))
    assert sorted(os.listdir(str(folder))) == before  # no graph has written a file
    rows = [line.split('\t') for line in process.stdout.splitlines()]
    assert len(rows) == len(paths)
    return {paths[row[0]]: (int(row[3]), row[4].replace(row[0], 'GRAPH')) for row in rows}


def run_python(graph):
    """Return the line by which Python refuses a graph, or ''."""
    try:
        with tf.Graph().as_default():
            graph_def.import_graph(graph_def.extract_subgraph(graph, ['predictions']), name='GRAPH')
    except UserError as error:
        return str(error)
    return ''


@pytest.fixture(scope='module')
def cpp_lines(tmp_path_factory):
    return run_cpp(tmp_path_factory.mktemp('graphs'),
                   {name: make() for name, (make, _) in CASES.items()})


@pytest.mark.parametrize('name', CASES)
def test_python_and_cpp_refuse_the_same_graphs_in_the_same_words(cpp_lines, name):
    make, message = CASES[name]
    python, (code, cpp) = run_python(make()), cpp_lines[name]
    if message is None:
        assert python == '' and (code == 0 or 'not a row of floats' in cpp)
        return
    assert message in python and message in cpp and code == 1
    if message.startswith(('has ', 'returns ')):
        assert cpp.rpartition(': ')[2] == python.rpartition(': ')[2]


def test_random_graphs_are_answered_or_refused_in_one_line(tmp_path):
    graphs = {seed: fuzz_graphs.Generator(seed).graph for seed in range(1, 121)}
    codes = set()
    for seed, (code, line) in run_cpp(tmp_path, graphs).items():
        codes.add(code)
        assert code in (0, 1) and line, (seed, code, line)
        refused = 'is damaged' in line or ('--allow_any_op' in line and
                                           'gives another answer' not in line)
        assert refused == ('--allow_any_op' in run_python(graphs[seed])), (seed, line)
    assert codes == {0, 1}


def test_the_list_holds_what_our_own_graphs_need():
    assert ALLOWED_OPS <= set(ALLOWED.ops)
    assert set(ALLOWED.types) >= {'FLOAT', 'NUMBER', 'ANY', 'INDEX', 'QUANTIZED'}
    assert ALLOWED.ranges['strides'] == (1, 4096) and ALLOWED.limits['kMaxNodes'] == 20000


def test_cpp_and_python_read_the_same_list():
    """The compiler's own view of the list, next to that of the regular expression."""
    text = ('#define TYPES(name, ...)\n#define OPS(types, ops) op types ops\n'
            '#define ATTR(name, min, max) attr #name min max\n'
            '#define LIMIT(name, value) limit #name value\n'
            f'#include "{allowed_ops.LIST}"\n')
    process = subprocess.run(['g++', '-x', 'c++', '-E', '-P', '-'], input=text,
                             stdout=subprocess.PIPE, universal_newlines=True, check=True)
    words = process.stdout.replace('"', ' ').split()
    assert words.count('op') == 4 and words.count('attr') == len(ALLOWED.ranges)
    assert words.count('limit') == len(ALLOWED.limits)
    names = [word for word in words if word in ALLOWED.ops]
    assert set(names) == set(ALLOWED.ops) and len(names) == len(ALLOWED.ops)


@pytest.mark.parametrize('op', ['WriteFile', 'Save', 'SaveV2', 'PrintV2', 'DebugIdentityV2',
                                'ReadFile', 'MatchingFiles', 'PyFunc', 'If', 'While',
                                'PartitionedCall', 'StatefulPartitionedCall', 'VarHandleOp',
                                'QueueDequeueV2'])
def test_what_uses_files_or_runs_code_is_not_allowed(op):
    assert op not in ALLOWED.ops
    with pytest.raises(UserError, match=rf"not allowed in inference .*: {op} \('node'\)"):
        allowed_ops.check_graph(chain(op))
