"""Frozen graphs of any origin: read from a file, cut to what inference needs, imported."""

import os
from typing import Any, Iterable, Optional

import numpy as np
import tensorflow.compat.v1 as tf
from google.protobuf import message, text_format

from permafrost.errors import UserError, one_line, printable
from permafrost.evaluation.frozen_graphs import allowed_ops
from permafrost.evaluation.frozen_graphs.file_kinds import check_graph_file, is_text_graph
from permafrost.evaluation.frozen_graphs.reading.saved_model import read_saved_model

MATMUL_OPS = ('Conv2D', 'DepthwiseConv2dNative', 'MatMul')  # their second input is the weights


def read_graph(path: str, session_config: Optional[tf.ConfigProto] = None) -> tf.GraphDef:
    """Return the GraphDef at `path`: a file (.pb, as text .pbtxt) or a SavedModel directory.

    A session with `session_config` reads the variables of a SavedModel. Raises UserError if there
    is no graph.
    """
    check_graph_file(path)
    if os.path.isdir(path):
        return read_saved_model(path, session_config)
    graph = tf.GraphDef()
    try:
        with open(path, 'rb') as stream:
            content = stream.read()
        if is_text_graph(content[:1000]):
            text_format.Parse(content, graph)
        else:
            graph.ParseFromString(content)
    except OSError as error:
        raise UserError(f'cannot read {path} ({error.strerror}): name another frozen graph')
    except (text_format.ParseError, RecursionError, UnicodeDecodeError) as error:
        raise UserError(f'{path} is damaged: {printable(one_line(error))}: write it again')
    except message.DecodeError:
        graph.Clear()
    if not graph.node or not all(node.name and node.op for node in graph.node):
        raise UserError(f'{path} is not a frozen graph (a binary GraphDef), or is truncated: copy '
                        'it again')
    return graph


def const(name: str, value: Any, dtype: Optional[tf.DType] = None) -> tf.NodeDef:
    """Return a Const node of `value`, an array or a list; its type is `dtype`, else its own."""
    tensor = tf.make_tensor_proto(value, dtype)
    node = tf.NodeDef(name=name, op='Const')
    node.attr['dtype'].type = tensor.dtype
    node.attr['value'].tensor.CopyFrom(tensor)
    return node


def value_of(node: tf.NodeDef) -> np.ndarray:
    """Return the value of a Const node. Raises TypeError or ValueError if it is damaged."""
    return tf.make_ndarray(node.attr['value'].tensor)


def preprocessing(graph: tf.GraphDef) -> tf.GraphDef:
    """Return the nodes of `graph` that compute its node `inputs`; none if it has no such node."""
    has_inputs = any(node.name == 'inputs' for node in graph.node)
    return extract_subgraph(graph, ['inputs'] if has_inputs else [])


def extract_subgraph(graph: tf.GraphDef, outputs: Iterable[str],
                     feeds: Iterable[str] = ()) -> tf.GraphDef:
    """Return the nodes of `graph` that compute `outputs` from `feeds`, float nodes.

    Each feed becomes a placeholder. Raises UserError if a node is missing.
    """
    fed = tf.GraphDef(versions=graph.versions, library=graph.library)
    for node in graph.node:
        if node.name in feeds:
            placeholder = fed.node.add(name=node.name, op='Placeholder')
            placeholder.attr['dtype'].type = tf.float32.as_datatype_enum
            # Placeholders have a shape, and other nodes of old files a list of them.
            shapes = ([node.attr['shape'].shape] if 'shape' in node.attr else
                      node.attr['_output_shapes'].list.shape)
            for shape in shapes[:1]:
                placeholder.attr['shape'].shape.CopyFrom(shape)
        else:
            fed.node.append(node)
    try:
        return tf.graph_util.extract_sub_graph(fed, list(outputs))
    except (AssertionError, KeyError) as error:
        raise UserError(f'a node is missing from the graph: {error}')


def import_graph(graph: tf.GraphDef, name: str = 'the graph',
                 allow_any_op: bool = False) -> None:
    """Import `graph` into the default graph.

    `name` is that of the graph in messages. Raises UserError if TensorFlow rejects it or, unless
    `allow_any_op`, if it has more than inference needs: see allowed_ops.
    """
    if not allow_any_op:
        graph = allowed_ops.check_graph(graph, name)
        with tf.Graph().as_default() as one:
            _import(allowed_ops.for_one_image(graph), name)
        allowed_ops.check_sizes(one, name)
    _import(graph, name)


def _import(graph, name):
    try:
        tf.import_graph_def(graph, name='')
        # TensorFlow infers impossible shapes, and raises ValueError when they are first read.
        for operation in tf.get_default_graph().get_operations():
            for output in operation.outputs:
                output.get_shape()
    except (ValueError, TypeError, tf.errors.OpError) as error:
        raise UserError(f'TensorFlow {tf.__version__} cannot load {name}: '
                        f'{one_line(error, 300)}')
