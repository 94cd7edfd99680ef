"""The part of a frozen graph that is converted: from the node to feed to `predictions`.

The children import this module too: TensorFlow is imported where it is used.
"""

from typing import TYPE_CHECKING

from permafrost.errors import UserError, printable

if TYPE_CHECKING:
    import tensorflow.compat.v1 as tf

PREPROCESSING = 'preprocessing/'  # begins the names of what computes `inputs` from `images`
OWN_GRAPHS_ONLY = 'only frozen graphs that freeze_graph.py wrote can be converted'
INTERFACE = ('images', 'inputs', 'predictions')


def is_preprocessing(name: str) -> bool:
    """Return whether the node `name` of a graph that `extract` made preprocesses images."""
    return name == 'inputs' or name.startswith(PREPROCESSING)


def extract(graph: 'tf.GraphDef', node: str, path: str = 'the graph') -> 'tf.GraphDef':
    """Return one of our frozen graphs from `node`, `images` or `inputs`, to the logits.

    The shape of `node` is that of a batch, [-1, H, W, 3]. Converters keep the names of nodes, so
    the quantizers recognize preprocessing nodes by PREPROCESSING. Raises UserError if `graph`,
    from the file at `path`, has no such nodes.
    """
    import tensorflow.compat.v1 as tf

    from permafrost.evaluation.frozen_graphs import graph_def
    names = {each.name for each in graph.node}
    missing = [name for name in (*INTERFACE, 'probabilities') if name not in names]
    if missing:
        raise UserError(f"{printable(path)} has no node {', '.join(missing)}: "
                        + OWN_GRAPHS_ONLY)
    inside = {each.name for each in graph_def.preprocessing(graph).node}
    inside -= set(INTERFACE)
    renamed = tf.GraphDef(versions=graph.versions)
    for each in graph.node:
        copy = renamed.node.add()
        copy.CopyFrom(each)
        copy.name = PREPROCESSING + each.name if each.name in inside else each.name
        copy.input[:] = [PREPROCESSING + name if name in inside else name for name in each.input]
    with tf.Graph().as_default() as imported:
        graph_def.import_graph(renamed, path)
        shape = imported.get_tensor_by_name(node + ':0').shape
    if shape.ndims != 4:
        raise UserError(f"{printable(path)}: node '{node}' is not a batch of images ({shape}): "
                        + OWN_GRAPHS_ONLY)
    result = graph_def.extract_subgraph(renamed, ['predictions'],
                                        ['inputs'] if node == 'inputs' else [])
    for each in result.node:
        if each.name == node:
            each.attr['shape'].shape.CopyFrom(tf.TensorShape(
                [None, *shape.as_list()[1:]]).as_proto())
    return result


def crop_floats(graph: 'tf.GraphDef') -> 'tf.GraphDef':
    """Return `graph` with a crop of `images` that follows the cast to float, not precedes it.

    LiteRT copies the bytes of a crop of uint8 one by one, which takes a sixth of the time of
    squeeze1 in int8. A Slice is fast, but LiteRT 2.3 then fails with other batch sizes.
    """
    import tensorflow.compat.v1 as tf

    result = tf.GraphDef()
    result.CopyFrom(graph)
    nodes = {each.name: each for each in result.node}
    for cast in result.node:
        if cast.op != 'Cast':
            continue
        crop = nodes[cast.input[0]]
        if crop.op == 'StridedSlice' and crop.input[0] == 'images':
            cast.name, crop.name = crop.name, cast.name  # what read the cast reads the crop now
            cast.input[0], crop.input[0] = 'images', cast.name
            crop.attr['T'].CopyFrom(cast.attr['DstT'])
    return result
