"""Where a frozen graph is fed and fetched, and what its numbers mean: as the file or the user says.

Nothing is guessed: what neither says is asked for, all in one line. label_image has the same flags
and rules, in label_image/runtime/ (nodes.cc, preprocessing.cc, output.cc).
"""

import collections
from typing import Dict, Iterable, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np
import tensorflow.compat.v1 as tf

from permafrost.errors import UsageError, UserError, printable

KINDS = ('logits', 'softmax', 'sigmoid', 'raw')
MAX_CANDIDATES = 8  # to name in a question
SUM_TOLERANCE = 1e-3  # of probabilities; float16 included

INDEX_OPS = ('ArgMax', 'TopK', 'TopKV2')  # return the index of a class
NO_NUMBERS_OPS = ('Equal', 'NotEqual', 'Greater', 'GreaterEqual', 'Less', 'LessEqual', 'InTopK',
                  'InTopKV2', 'Shape', 'ShapeN', 'Size', 'Rank', 'Assert', 'NoOp')
VARIABLE_OPS = ('Variable', 'VariableV2', 'VarHandleOp', 'ReadVariableOp', 'AutoReloadVariable')
PASSING_OPS = ('Identity', 'Reshape', 'Squeeze', 'ExpandDims', 'Cast', 'StopGradient',
               'CheckNumerics', 'EnsureShape', 'Snapshot', 'PreventGradient')
LINEAR_OPS = ('MatMul', 'BatchMatMul', 'BatchMatMulV2', 'BiasAdd', 'BiasAddV1', 'Add', 'AddV2',
              'Conv2D')  # layers without an activation
ARITHMETIC_OPS = ('Sub', 'Mul', 'RealDiv', 'Div', 'AddN', 'Neg', 'Mean', 'Sum', 'AvgPool',
                  'FusedBatchNorm', 'FusedBatchNormV2', 'FusedBatchNormV3', 'ConcatV2', 'Pack',
                  'OneHot', 'Dequantize')  # may end a softmax or sigmoid written by hand

Shape = Optional[List[Optional[int]]]  # None: unknown, also of a dimension


class Statement(NamedTuple):
    """The statements of the user about a graph: the flags of these names."""
    node: Optional[str] = None
    output: Optional[str] = None
    feed: Sequence[str] = ()
    image_size: Optional[int] = None
    standardize: Optional[str] = None
    input_mean: Optional[str] = None
    input_std: Optional[str] = None
    output_kind: Optional[str] = None
    labels: Optional[str] = None


NOTHING_STATED = Statement()


class Nodes(NamedTuple):
    """The names of the nodes to feed and to fetch; '' if a question asks for one."""
    input: str
    output: str
    questions: Tuple[str, ...] = ()
    defaults: Tuple[str, ...] = ()  # other placeholders, which have a default value

    @property
    def is_own(self) -> bool:
        """True if the graph is fed at `images`, as those of freeze_graph.py are."""
        return self.input == 'images'


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
            raise UserError(f"{self.path} has no node '{base}'")
        return self.nodes[base]

    def first_input(self, node: tf.NodeDef) -> Optional[tf.NodeDef]:
        return self.nodes.get(node_name(node.input[0])) if node.input else None

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
    return 0


def output_shape(node: tf.NodeDef) -> Shape:
    """Return the shape of the first output of `node`, as far as its attributes say it."""
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
    can be fed to. The output is `predictions` or `probabilities`, else the only node that has float
    values, depends on the input, and that nothing else reads. An ArgMax counts as what it reads.
    Raises UserError if a named node does not exist or returns indices, or if the graph is not
    frozen.
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
    questions = [] if fed else [_question('node', inputs)]
    if len(outputs) != 1:
        questions.append(_question('output', outputs))
    if questions:
        return Nodes(fed.name if fed else '', '', tuple(questions))
    defaults = []
    for each in graph.upstream(outputs, fed.name):
        if each.name == fed.name:
            continue
        if each.op == 'PlaceholderWithDefault':
            defaults.append(each.name)
        if each.op in VARIABLE_OPS or (
                _is_fed(each) and output_type(each) == tf.resource.as_datatype_enum):
            raise UserError(f"{path} is not frozen, its weights are in a checkpoint: {each.op} "
                            f"'{each.name}': freeze both with "
                            'python -m tensorflow.python.tools.freeze_graph')
        if _is_fed(each):
            questions.append(f'--feed {each.name}=VALUE')
    return Nodes(fed.name, outputs[0].name, tuple(questions), tuple(sorted(defaults)))


def _is_fed(node):
    return node.op.startswith('Placeholder') and not node.input


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
        raise UserError(f"{graph.path}: node '{name}' returns the index of a class alone "
                        f'({node.op}): give what it reads'
                        + (f', --output {source.name}' if source else ''))
    for conventional in ('predictions', 'probabilities'):
        node = graph.nodes.get(conventional)
        if node is not None and node.op not in INDEX_OPS:
            return [node]
    return [node for node in graph.downstream(inputs)
            if not node.op.startswith('Placeholder') and node.op not in INDEX_OPS
            and _has_floats(node)
            and all(reader.op in INDEX_OPS for reader in graph.readers[node.name])]


def _has_floats(node):
    floats = [0] + [kind.as_datatype_enum for kind in (tf.float32, tf.float16, tf.float64)]
    return node.op == 'Dequantize' or (
        output_type(node) in floats and node.op not in NO_NUMBERS_OPS)


def _question(flag, candidates):
    names = [printable(node.name)[:50] for node in candidates[:MAX_CANDIDATES]]
    names += ['...'] * (len(candidates) > MAX_CANDIDATES)
    return f"--{flag} NAME (candidates: {', '.join(names) or 'none'})"


def feed_constants(definition: tf.GraphDef, path: str, feeds: Sequence[str]) -> tf.GraphDef:
    """Return a copy of the graph with a Const for each placeholder that `feeds`, NAME=VALUE, names.

    Raises UserError if there is no such placeholder, UsageError if the value does not fit.
    """
    changed = tf.GraphDef()
    changed.CopyFrom(definition)
    nodes = {node.name: node for node in changed.node}
    for feed in feeds:
        name, equals, text = feed.partition('=')
        node = nodes.get(name[:-2] if name.endswith(':0') else name)
        if not equals:
            raise UsageError(f"--feed must be NAME=VALUE, such as keep_prob=1, not '{feed}'")
        if node is None or not node.op.startswith('Placeholder'):
            raise UserError(f"{path} has no placeholder '{name}' for --feed")
        dtype = output_type(node)
        shape = output_shape(node) or []
        if any(size != 1 for size in shape) or dtype not in (
                each.as_datatype_enum for each in (tf.float32, tf.float64, tf.int32, tf.bool)):
            raise UserError(f'--feed={feed}: only a placeholder of one number or bool can be fed '
                            'with a value')
        dtype = tf.as_dtype(dtype)
        try:
            number = {'true': 1., 'false': 0.}.get(text)
            number = float(text) if number is None else number
            value = np.full(shape, number, dtype.as_numpy_dtype)
            if value.astype(float).ravel()[0] != number and dtype in (tf.bool, tf.int32):
                raise ValueError
        except (ValueError, OverflowError):
            kind = {'bool': 'true or false', 'int32': 'an integer'}.get(dtype.name, 'a number')
            raise UsageError(f'--feed={feed}: the value must be {kind}')
        node.op = 'Const'
        node.ClearField('input')
        node.ClearField('attr')
        node.attr['dtype'].type = dtype.as_datatype_enum
        node.attr['value'].tensor.CopyFrom(tf.make_tensor_proto(value, dtype))
    return changed


def class_names(definition: tf.GraphDef, path: str, labels: Optional[str]) -> List[str]:
    """Return the lines of the file `labels`, else the strings in the Const `labels`, or none."""
    if labels:
        try:
            with open(labels, encoding='utf-8-sig', errors='surrogateescape') as stream:
                return [line.strip() for line in stream if line.strip()]
        except OSError as error:
            raise UserError(f'{labels}: {error.strerror}')
    for node in definition.node:
        if node.name == 'labels' and node.op == 'Const':
            return [name.decode('utf-8', 'surrogateescape')
                    for name in node.attr['value'].tensor.string_val]
    return []


class Preprocessing:
    """How pixels become the floats that a graph is fed."""

    def __init__(self, standardize: Optional[str] = None, input_mean: Optional[str] = None,
                 input_std: Optional[str] = None):
        """Read the flags of these names. Raises UsageError."""
        if standardize not in (None, 'per_image', 'none'):
            raise UsageError(f"--standardize must be per_image or none, not '{standardize}'")
        self._standardize, self._mean, self._std = standardize, None, None
        if input_mean is None and input_std is None:
            return
        if standardize:
            raise UsageError('give either --standardize, or --input_mean and --input_std')
        self._mean = _numbers('input_mean', input_mean or '0', -1e30)
        self._std = _numbers('input_std', input_std or '1', 1e-30)

    @property
    def is_stated(self) -> bool:
        """True if any flag says something."""
        return self._standardize is not None or self._mean is not None

    def apply(self, images: np.ndarray) -> np.ndarray:
        """Return uint8 [N, H, W, 3] as float32."""
        if self._mean is not None:
            return ((images - self._mean) / self._std).astype(np.float32)
        if self._standardize != 'per_image':
            return images.astype(np.float32)
        mean = images.mean((1, 2, 3), dtype=np.float64, keepdims=True)
        deviation = images.std((1, 2, 3), dtype=np.float64, keepdims=True)
        # As tf.image.per_image_standardization, for images of a single colour.
        deviation = np.maximum(deviation, images[0].size ** -0.5)
        return ((images - mean) / deviation).astype(np.float32)

    def __str__(self) -> str:
        if self._standardize == 'per_image':
            return 'standardized per image'
        if self._mean is None:
            return 'pixels 0 to 255'
        return f'(x - {_numbers_text(self._mean)}) / {_numbers_text(self._std)}'


def _numbers(flag, text, least):
    try:
        numbers = np.array([float(part) for part in text.split(',')])
        if len(numbers) in (1, 3) and np.isfinite(numbers).all() and numbers.min() >= least:
            return numbers
    except ValueError:
        pass
    raise UsageError(f"--{flag} must be a number{' above 0' if least > 0 else ''}, or three with "
                     f"commas, not '{text}'")


def _numbers_text(numbers):
    if len(set(numbers)) == 1:
        return f'{numbers[0]:g}'
    return '[' + ', '.join(f'{number:g}' for number in numbers) + ']'


class Output:
    """The meaning of the numbers that a graph returns."""

    def __init__(self, definition: tf.GraphDef, path: str, nodes: Nodes,
                 kind: Optional[str] = None):
        """Take the `kind` that the user states, else the one that the last operation says.

        Else it is decided by the first values, where these leave no doubt. Raises UsageError.
        """
        if kind not in (None,) + KINDS:
            raise UsageError(f"--output_kind must be {', '.join(KINDS[:3])} or raw, not '{kind}'")
        graph = _Graph(definition, path)
        node = graph.nodes.get(nodes.output)
        for _ in graph.nodes:  # ends even if there is a cycle
            if node is None or node.op not in PASSING_OPS:
                break
            node = graph.first_input(node)
        self._path, self._node = path, nodes.output
        self._op = node.op if node is not None else ''
        # Softmax is the inverse of LogSoftmax.
        self.kind = kind or {'Softmax': 'softmax', 'Sigmoid': 'sigmoid',
                             'LogSoftmax': 'logits'}.get(self._op)
        if not self.kind and nodes.is_own and nodes.output == 'predictions':
            self.kind = 'logits'
        self._columns = 0

    def read(self, values: np.ndarray, count: int) -> np.ndarray:
        """Return logits float64 [count, classes] for what the graph returned for `count` images.

        Scores of the kinds raw and, of several columns, sigmoid stay as they are. One column
        becomes the logits of two classes. Raises UserError if there is no row of finite numbers for
        each image, or if these cannot be of their kind; UsageError if their kind must be stated.
        """
        sizes = [size for size in values.shape[1:] if size != 1]
        if values.ndim < 2 or len(values) != count or len(sizes) > 1 or values.dtype not in (
                np.float32, np.float64):
            shape = ', '.join(map(str, values.shape))
            raise UserError(f"{self._path}: node '{self._node}' returns {values.dtype} [{shape}] "
                            f"for {count} image{'s' * (count != 1)}, not a row of floats for each")
        values = values.astype(np.float32).astype(np.float64).reshape(count, -1)
        self._columns = values.shape[1]
        if not np.isfinite(values).all():
            column = np.argwhere(~np.isfinite(values))[0][1]
            what = 'NaN' if np.isnan(values).any() else 'infinity'
            raise UserError(f"{self._path}: node '{self._node}' returns {what} (column {column}): "
                            'its weights or the preprocessing are wrong')
        self.kind = self.kind or self._decide(values)
        self._check(values)
        smallest = np.finfo(np.float32).tiny
        if self._columns == 1 and self.kind == 'logits':
            return np.concatenate([np.zeros_like(values), values], 1)
        if self._columns == 1 and self.kind == 'sigmoid':
            return np.log(np.clip(np.concatenate([1 - values, values], 1), smallest, 1))
        return np.log(np.clip(values, smallest, 1)) if self.kind == 'softmax' else values

    def _decide(self, values):
        fractions = _are_fractions(values)
        if self._columns > 1 and fractions and _sum_to_one(values):
            return 'softmax'
        if self._columns > 1 and (
                self._op in LINEAR_OPS or (self._op in ARITHMETIC_OPS and not fractions)):
            return 'logits'
        raise UsageError(f"{self._path} does not say what its output '{self._node}' means, "
                         f"{self._columns} number{'s' * (self._columns != 1)} by {self._op}: give "
                         '--output_kind logits, softmax, sigmoid or raw')

    def _check(self, values):
        if self.kind == 'softmax' and self._columns == 1:
            raise UserError(f"{self._path}: node '{self._node}' is a softmax of one column, which "
                            'is always 1')
        if (self.kind in ('softmax', 'sigmoid') and not _are_fractions(values)) or (
                self.kind == 'softmax' and not _sum_to_one(values)):
            which = 'that sum to 1' if self.kind == 'softmax' else 'from 0 to 1'
            raise UserError(f"{self._path}: node '{self._node}' does not return probabilities "
                            f'{which}: give another --output_kind')

    @property
    def has_probabilities(self) -> bool:
        """True if `read` returns logits, so that there is a cross entropy."""
        return self.kind in ('logits', 'softmax') or (self.kind, self._columns) == ('sigmoid', 1)

    def __str__(self) -> str:
        single = self._columns == 1
        text = {'logits': 'a sigmoid makes it the probability of the second class' if single else
                          'a softmax makes probabilities of them',
                'softmax': 'probabilities as the graph gives them',
                'sigmoid': 'the probability of the second class, as the graph gives it' if single
                           else 'a probability for each class on its own, as the graph gives them',
                'raw': 'numbers as the graph gives them'}[self.kind]
        return f'{printable(self._node)[:100]}, {self.kind}: {text}'


def _are_fractions(values):
    return bool((values > -1e-6).all() and (values < 1 + 1e-6).all())


def _sum_to_one(values):
    return bool((np.abs(values.sum(1) - 1) <= SUM_TOLERANCE).all())
