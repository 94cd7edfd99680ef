"""The nodes at which a frozen graph is fed and fetched: found, named by the user, or asked for.

label_image/inference/nodes.cc has the same rules.
"""

import collections
from typing import Dict, Iterable, List, NamedTuple, Optional, Sequence, Tuple

import tensorflow.compat.v1 as tf

from permafrost.cli.commands import next_command
from permafrost.errors import UsageError, UserError, printable
from permafrost.evaluation.frozen_graphs.feeding.layout import Shape

MAX_CANDIDATES = 8  # to name for a missing flag
INDEX_OPS = ('ArgMax', 'TopK', 'TopKV2')  # return the index of a class
DECODE_OPS = ('DecodeJpeg', 'DecodePng', 'DecodeBmp', 'DecodeImage')
NO_NUMBERS_OPS = ('Equal', 'NotEqual', 'Greater', 'GreaterEqual', 'Less', 'LessEqual', 'InTopK',
                  'InTopKV2', 'Shape', 'ShapeN', 'Size', 'Rank', 'Assert', 'NoOp')
# Values of placeholders that inference sets, by what their names contain.
SWITCH_NAMES = ('train', 'phase', 'learning')  # false
KEEP_NAMES, DROP_NAMES = ('keep',), ('drop',)  # 1: keep all; 0: drop none
UNFROZEN_OPS = ('Variable', 'VariableV2', 'VarHandleOp', 'ReadVariableOp', 'AutoReloadVariable')


class Nodes(NamedTuple):
    """The names of the nodes to feed and to fetch; '' if a flag must name one."""
    input: str
    output: str
    missing_flags: Tuple[str, ...] = ()
    defaults: Tuple[str, ...] = ()  # other placeholders, which have a default value
    assumed: Tuple[str, ...] = ()  # NAME=VALUE of others, which every inference sets so
    is_own: bool = False  # fed uint8 `images`, as the graphs of freeze_graph.py are


class _Graph:
    """The nodes of a GraphDef and who reads them."""

    def __init__(self, definition: tf.GraphDef, path: str):
        self.path = path
        self.nodes = {node.name: node for node in definition.node}
        self.readers: Dict[str, List[tf.NodeDef]] = collections.defaultdict(list)
        for node in definition.node:
            for source in node.input:
                self.readers[node_name(source)].append(node)

    def named(self, flag: str, name: str) -> tf.NodeDef:
        """Return the node `name` or '`name`:0'."""
        base, _, port = name.partition(':')
        if port not in ('', '0'):
            raise UsageError(f'--{flag}={name}: only the first output of a node, NAME or NAME:0, '
                             'can be used')
        if base not in self.nodes:
            layers = next_command('info.py', '--graph', self.path)
            raise UserError(f"{self.path} has no node '{base}': {layers} lists its layers")
        return self.nodes[base]

    def first_input(self, node: tf.NodeDef) -> Optional[tf.NodeDef]:
        return self.nodes.get(node_name(node.input[0])) if node.input else None

    def decoder(self, node: tf.NodeDef) -> tf.NodeDef:
        """Return the only reader of `node` if that decodes images, else `node`."""
        readers = self.readers[node.name]
        is_encoded = len(readers) == 1 and readers[0].op in DECODE_OPS
        return readers[0] if is_encoded else node

    def upstream(self, outputs: Iterable[tf.NodeDef], feed: str = '') -> List[tf.NodeDef]:
        """Return what `outputs` depend on, with these, but not what only `feed` depends on.

        In the order of the graph.
        """
        return self._walk(outputs, lambda node: [] if node.name == feed else [
            self.nodes[name] for name in map(node_name, node.input) if name in self.nodes])

    def downstream(self, inputs: Iterable[tf.NodeDef]) -> List[tf.NodeDef]:
        """Return the nodes that depend on `inputs`, with these, in the order of the graph."""
        return self._walk(inputs, lambda node: self.readers[node.name])

    def _walk(self, start, neighbours):
        stack = list(start)
        visited = {node.name for node in stack}
        while stack:
            for node in neighbours(stack.pop()):
                if node.name not in visited:
                    visited.add(node.name)
                    stack.append(node)
        return [node for name, node in self.nodes.items() if name in visited]


def node_name(source: str) -> str:
    """Return the name of the node of an input such as '^node' or 'node:1'."""
    return source.lstrip('^').split(':')[0]


def output_type(node: tf.NodeDef) -> int:
    """Return the DataType number of the first output of `node`, 0 if its attributes do not say."""
    for attribute in ('dtype', 'T', 'DstT'):
        if attribute in node.attr:
            return node.attr[attribute].type
    return tf.uint8.as_datatype_enum if node.op in DECODE_OPS else 0


def output_shape(node: tf.NodeDef) -> Shape:
    """Return the shape of the first output of `node`, as far as its attributes say it."""
    if node.op in DECODE_OPS:
        channels = node.attr['channels'].i or 3
        # [None, None, 4] would be grey images of width 4.
        return [None] * (2 if channels <= 3 else 3) + [channels]
    if 'shape' in node.attr:
        shape = node.attr['shape'].shape
    elif '_output_shapes' in node.attr and node.attr['_output_shapes'].list.shape:
        shape = node.attr['_output_shapes'].list.shape[0]  # as old versions of TensorFlow wrote
    else:
        return None
    return None if shape.unknown_rank else [
        None if each.size < 0 else each.size for each in shape.dim]


def find_nodes(definition: tf.GraphDef, path: str, node: Optional[str] = None,
               output: Optional[str] = None) -> Nodes:
    """Return the nodes to feed and to fetch: those that the user names, else found.

    The input is `images` or `inputs` if there is such a node, else the only placeholder that images
    can be fed to; if that receives encoded images, the node that decodes them. The output is
    `predictions` or `probabilities`, else the only node that has float values, depends on the
    input, and that nothing else reads. An ArgMax counts as what it reads, and of several outputs
    the one counts of which it chooses the largest. Raises UserError if a named node does not exist
    or returns indices, or if the graph is not frozen.
    """
    graph = _Graph(definition, path)
    fed = graph.named('node', node) if node else (
        graph.nodes.get('images') or graph.nodes.get('inputs'))
    inputs = [fed] if fed else _image_placeholders(filter(_is_fed, graph.nodes.values()))
    outputs = _output_candidates(graph, output, inputs)
    if not fed:
        inputs = _image_placeholders(filter(_is_fed, graph.upstream(outputs)))
        if len(inputs) == 1:
            fed = inputs[0]
            outputs = _output_candidates(graph, output, inputs)
    missing = [] if fed else [missing_flag('node', _names(inputs))]
    if len(outputs) != 1:
        missing.append(missing_flag('output', _names(outputs)))
    if missing:
        return Nodes(fed.name if fed else '', '', tuple(missing))
    fed = graph.decoder(fed)
    defaults, assumed = [], []
    for each in graph.upstream(outputs, fed.name):
        if each.name == fed.name:
            continue
        value = _value_in_inference(each)
        if value:
            assumed.append(f'{each.name}={value}')
            continue
        if each.op == 'PlaceholderWithDefault':
            defaults.append(each.name)
        if each.op in UNFROZEN_OPS or (
                _is_fed(each) and output_type(each) == tf.resource.as_datatype_enum):
            raise UserError(f"{path} is not frozen, its weights are in a checkpoint: {each.op} "
                            f"'{each.name}': freeze both with "
                            'python -m tensorflow.python.tools.freeze_graph')
        if _is_fed(each):
            if not is_one_value(each):
                raise UserError(f"{path} needs placeholder '{each.name}' too, which is not one "
                                'number or bool: export a graph with one input')
            missing.append(f'--feed {each.name}=VALUE')
    is_own = fed.name == 'images' and output_type(fed) in (0, tf.uint8.as_datatype_enum)
    return Nodes(fed.name, outputs[0].name, tuple(missing), tuple(sorted(defaults)),
                 tuple(sorted(assumed)), is_own)


def is_one_value(node: tf.NodeDef) -> bool:
    """Return whether a node is one float, double, int32 or bool, as far as its attributes tell."""
    return all(size == 1 for size in output_shape(node) or []) and output_type(node) in (
        each.as_datatype_enum for each in (tf.float32, tf.float64, tf.int32, tf.bool))


def _is_fed(node):
    return node.op.startswith('Placeholder') and not node.input


def _value_in_inference(node):
    """Return the value of a placeholder of one number or bool that its name tells, or ''."""
    name, kind = node.name.lower(), output_type(node)
    if not node.op.startswith('Placeholder') or not is_one_value(node):
        return ''
    if kind == tf.bool.as_datatype_enum and any(part in name for part in SWITCH_NAMES):
        return 'false'
    if kind == tf.float32.as_datatype_enum:
        for value, names in (('1', KEEP_NAMES), ('0', DROP_NAMES)):
            if any(part in name for part in names):
                return value
    return ''


def _image_placeholders(placeholders):
    """Return those that images can be fed to; of several the only one of rank 4.

    Switches such as is_training do not count, nor numbers such as keep_prob if there are others.
    """
    placeholders = [node for node in placeholders
                    if output_type(node) not in (tf.bool.as_datatype_enum,
                                                 tf.resource.as_datatype_enum)]
    shapes = {node.name: output_shape(node) for node in placeholders}
    images = [node for node in placeholders if len(shapes[node.name] or ()) == 4]
    if len(images) == 1:
        return images
    shaped = [node for node in placeholders if output_type(node) == tf.string.as_datatype_enum
              or shapes[node.name] is None or len(shapes[node.name]) > 1]
    return shaped or placeholders


def _output_candidates(graph, name, inputs):
    if name:
        node = graph.named('output', name)
        if node.op not in INDEX_OPS:
            return [node]
        source = graph.first_input(node)
        raise UserError(f"{graph.path}: node '{name}' returns only a class index "
                        f'({node.op}): name its input instead'
                        + (f', --output {source.name}' if source else ''))
    for conventional in ('predictions', 'probabilities'):
        node = graph.nodes.get(conventional)
        if node is not None and node.op not in INDEX_OPS:
            return [node]
    downstream = graph.downstream(inputs)
    ends = [node for node in downstream
            if not node.op.startswith('Placeholder') and node.op not in INDEX_OPS
            and _has_floats(node)
            and all(reader.op in INDEX_OPS for reader in graph.readers[node.name])]
    chosen = {node_name(node.input[0]) for node in downstream
              if node.op in INDEX_OPS and node.input}
    classified = [node for node in ends if node.name in chosen
                  or (node.input and node_name(node.input[0]) in chosen)]
    return classified if len(ends) > 1 and len(classified) == 1 else ends


def _has_floats(node):
    floats = [0] + [kind.as_datatype_enum for kind in (tf.float32, tf.float16, tf.float64)]
    return node.op == 'Dequantize' or (
        output_type(node) in floats and node.op not in NO_NUMBERS_OPS)


def _names(nodes):
    return [node.name for node in nodes]


def missing_flag(flag: str, names: Sequence[str]) -> str:
    """Return the missing `flag`, whose value may be one of `names`."""
    return f'--{flag} NAME {candidates(names)}'


def candidates(names: Sequence[str]) -> str:
    """Return the first of `names`, for a message."""
    shown = [printable(name)[:50] for name in names[:MAX_CANDIDATES]]
    if len(names) > MAX_CANDIDATES:
        shown.append('...')
    return f"(candidates: {', '.join(shown) or 'none'})"
