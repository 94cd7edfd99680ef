"""Random graphs of allowed operations with malformed shapes, attributes and values.

tools/dev/fuzz_graphs.py --count 5000 --output FOLDER writes them; tests run some of them. Run the
rest with label_image/fuzz/run_graphs.cc and tools/dev/fuzz_eval.py.
"""

import os
import random
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from permafrost.cli import interpreter

interpreter.check()

import tensorflow.compat.v1 as tf
from absl import flags
from tensorflow.core.framework import op_def_pb2
from tensorflow.python.framework import op_def_registry

from permafrost.entry_point import run_script
from permafrost.evaluation.frozen_graphs.allowed_ops import ALLOWED

FLOAT, INT32 = tf.float32.as_datatype_enum, tf.int32.as_datatype_enum
INTS = (0, 1, 1, 2, 2, 3, 4, -1, -2, 5, 31, 32, 100, 4096, 4097, 2**24, 2**31 - 1, -2**31)
LONG_INTS = INTS + (2**31, 2**33, 2**62, 2**63 - 1, -2**63)
FLOATS = (0., 1., -1., 0.5, 255., 1e-38, 1e38, float('nan'), float('inf'))
SHAPES = ((), (), (1,), (2,), (3,), (4,), (0,), (2, 2), (4, 2), (0, 2), (2, 3), (3, 4), (0, 0),
          (3, 3, 3, 4), (1, 1, 3, 4), (3, 3, 3, 0), (3, 3, 0, 4), (0, 0, 3, 4), (2, 2, 3, 1),
          (1, 32, 32, 3), (5, 5, 3, 2), (1, 1, 1, 1, 1), (32, 4))
STRINGS = (b'SAME', b'VALID', b'EXPLICIT', b'NHWC', b'NCHW', b'NCHW_VECT_C', b'REFLECT',
           b'SYMMETRIC', b'MIN_COMBINED', b'MIN_FIRST', b'SCALED', b'', b'x' * 200)
# Shapes that suit inputs of these names, so that many graphs pass the checks of shapes.
VECTORS = ((4,), (1,), (2,), (), (3,), (0,))
LIKELY_SHAPES = {
    'filter': ((3, 3, 3, 4), (1, 1, 3, 4), (5, 5, 3, 2), (3, 3, 0, 4), (0, 0, 3, 4), (3, 3, 3, 0)),
    'paddings': ((4, 2), (4, 2), (2, 2), (0, 2)), 'b': ((3, 4), (3,), (32, 4), (3, 3)),
    **dict.fromkeys(('bias', 'scale', 'offset', 'mean', 'variance', 'beta', 'gamma', 'm', 'v'),
                    ((3,), (3,), (4,), (0,), (1,))),
    **dict.fromkeys(('begin', 'end', 'strides', 'size', 'dims', 'multiples', 'shape', 'perm',
                     'axis', 'reduction_indices', 'split_dim', 'dim', 'concat_dim', 'size_splits',
                     'block_shape', 'depth', 'start', 'limit', 'delta'), VECTORS),
    **dict.fromkeys(('min', 'max', 'min_range', 'max_range', 'min_input', 'max_input', 'min_a',
                     'max_a', 'min_b', 'max_b', 'min_filter', 'max_filter', 'on_value', 'off_value',
                     'pred', 'input_min', 'input_max', 'requested_output_min',
                     'requested_output_max', 'clip_value_min', 'clip_value_max'), ((), (), (0,)))}
IMAGE_INPUTS = ('x', 'input', 'features', 'value', 'images', 'tensor', 'data', 'logits', 'a', 't')
NO_OPERATIONS = ('Placeholder', 'Const', 'NoOp', 'PlaceholderWithDefault')


def op_def(name: str) -> op_def_pb2.OpDef:
    """Return TensorFlow's definition of an operation."""
    if hasattr(op_def_registry, 'get'):
        return op_def_registry.get(name)
    return op_def_registry.get_registered_ops()[name]  # 1.15


OPERATIONS = sorted(set(ALLOWED.ops) - set(NO_OPERATIONS))


class Generator:
    """Makes one graph: `images` -> one to four random operations -> `predictions`."""

    def __init__(self, seed: int):
        self._random = random.Random(seed)
        self.graph = tf.GraphDef()
        # Older graphs may have BatchNormWithGlobalNormalization.
        self.graph.versions.producer = self._random.choice((134, 134, 134, 8))
        self._floats, self._count = [], 0
        images = self.graph.node.add(name='images', op='Placeholder')
        images.attr['dtype'].type = tf.uint8.as_datatype_enum
        images.attr['shape'].shape.CopyFrom(tf.TensorShape([None, 32, 32, 3]).as_proto())
        pixels = self._node('Cast', ['images'], SrcT=tf.uint8.as_datatype_enum, DstT=FLOAT)
        self._floats += [pixels, pixels]
        means = self._node('Mean', [pixels, self._const_of(INT32, [1, 2])], T=FLOAT, Tidx=INT32)
        self._floats.append(means)
        for _ in range(self._random.choice((1, 1, 1, 2, 3, 4))):
            self._random_operation(OPERATIONS[self._random.randrange(len(OPERATIONS))])
        last, end = self._floats[-1], self._random.random()
        if end < 0.3:  # a row for each image
            last = self._node('Mean', [last, self._const_of(INT32, [1, 2])], T=FLOAT, Tidx=INT32)
        elif end < 0.6:
            last = self._node('Reshape', [last, self._const_of(INT32, [1, -1])], T=FLOAT,
                              Tshape=INT32)
        self.graph.node.add(name='predictions', op='Identity', input=[last, '^' + means]
                            ).attr['T'].type = FLOAT

    def _node(self, op, inputs, **types):
        self._count += 1
        node = self.graph.node.add(name=f'n{self._count}', op=op, input=inputs)
        for name, value in types.items():
            node.attr[name].type = value
        return node.name

    def _const_of(self, dtype, values):
        self._count += 1
        node = self.graph.node.add(name=f'n{self._count}', op='Const')
        node.attr['dtype'].type = dtype
        node.attr['value'].tensor.CopyFrom(tf.make_tensor_proto(values, tf.as_dtype(dtype)))
        return node.name

    def _const(self, dtype, name):
        choose = self._random.choice
        shapes = LIKELY_SHAPES.get(name, SHAPES) if self._random.random() < 0.8 else SHAPES
        kind, shape = tf.as_dtype(dtype), choose(shapes)
        ints, long_ints = (INTS, LONG_INTS) if self._random.random() < 0.3 else ((0, 1, 2, 3),) * 2
        count = 1
        for size in shape:
            count *= size
        self._count += 1
        node = self.graph.node.add(name=f'n{self._count}', op='Const')
        node.attr['dtype'].type = dtype
        tensor = node.attr['value'].tensor
        tensor.dtype = dtype
        for size in shape:
            tensor.tensor_shape.dim.add(size=size if self._random.random() > 0.01
                                        else choose(LONG_INTS))
        for _ in range(min(count, 16)):
            if kind.is_floating:
                if dtype == tf.float64.as_datatype_enum:
                    tensor.double_val.append(choose(FLOATS))
                elif dtype == FLOAT:
                    tensor.float_val.append(choose(FLOATS))
                else:
                    tensor.half_val.append(self._random.randrange(1 << 16))
            elif dtype == tf.string.as_datatype_enum:
                tensor.string_val.append(choose(STRINGS))
            elif dtype == tf.bool.as_datatype_enum:
                tensor.bool_val.append(choose((True, False)))
            elif dtype == tf.int64.as_datatype_enum:
                tensor.int64_val.append(choose(long_ints))
            else:
                tensor.int_val.append(choose(ints))
        return node.name

    def _attribute(self, spec):
        """Return an AttrValue for an attribute of an OpDef: usually one that fits."""
        choose, value = self._random.choice, tf.AttrValue()
        if spec.HasField('default_value') and self._random.random() < 0.6:
            return spec.default_value
        kind = spec.type
        allowed = spec.allowed_values.list
        if kind == 'type':
            types = list(allowed.type) or [FLOAT, INT32]
            likely = FLOAT if FLOAT in types else INT32 if INT32 in types else types[0]
            value.type = likely if self._random.random() < 0.85 else choose(types)
        elif kind == 'int':
            value.i = choose((1, 2, 3, 4)) if self._random.random() < 0.8 else choose(LONG_INTS)
        elif kind == 'bool':
            value.b = choose((True, False))
        elif kind == 'float':
            value.f = choose(FLOATS)
        elif kind == 'string':
            value.s = choose(list(allowed.s) or STRINGS)
        elif kind == 'shape':
            value.shape.CopyFrom(tf.TensorShape(list(choose(SHAPES))).as_proto())
        elif kind == 'list(int)':
            value.list.i.extend(
                choose(([1, 1, 1, 1], [1, 2, 2, 1], [1, 3, 3, 1], [1, 32, 32, 1], [1, 1, 2, 2]))
                if self._random.random() < 0.7 else
                [choose(LONG_INTS if self._random.random() < 0.2 else (0, 1, 2, 5))
                 for _ in range(choose((0, 1, 4, 4, 8)))])
        elif kind == 'list(type)':
            value.list.type.extend([FLOAT] * choose((1, 2)))
        return value

    def _source(self, dtype, name):
        share = 0.9 if name in IMAGE_INPUTS else 0.3 if dtype == FLOAT else 0.1
        if self._random.random() < share:
            source = self._random.choice(self._floats)
            if dtype == FLOAT:
                return source
            return self._node('Cast', [source], SrcT=FLOAT, DstT=dtype)
        return self._const(dtype, name)

    def _random_operation(self, op):
        definition = op_def(op)
        attributes = {spec.name: self._attribute(spec) for spec in definition.attr}
        inputs = []
        for argument in definition.input_arg:
            if argument.type_list_attr:
                types = list(attributes[argument.type_list_attr].list.type)
            else:
                count = 1
                if argument.number_attr:
                    count = max(0, min(attributes[argument.number_attr].i, 5))
                types = [attributes[argument.type_attr].type if argument.type_attr
                         else argument.type] * count
            inputs += [self._source(dtype, argument.name) for dtype in types]
        self._count += 1
        node = self.graph.node.add(name=f'n{self._count}', op=op, input=inputs)
        for name, value in attributes.items():
            node.attr[name].CopyFrom(value)
        for argument in definition.output_arg[:1]:
            dtype = argument.type
            if argument.type_attr:
                dtype = attributes[argument.type_attr].type
            elif argument.type_list_attr:
                dtype = attributes[argument.type_list_attr].list.type[0]
            self._floats.append(node.name if dtype == FLOAT else self._node(
                'Cast', [node.name], SrcT=dtype, DstT=FLOAT))


def write_graphs(folder: str, count: int, seed: int) -> None:
    """Write `count` graphs to `folder`."""
    os.makedirs(folder, exist_ok=True)
    for number in range(seed, seed + count):
        with open(os.path.join(folder, f'{number:06}.pb'), 'wb') as stream:
            stream.write(Generator(number).graph.SerializeToString())


if __name__ == '__main__':
    flags.DEFINE_integer('count', 5000, 'Number of graphs.', 1)
    flags.DEFINE_integer('seed', 1, 'Seed of the first graph; graph i has seed + i.')
    flags.DEFINE_string('output', 'graphs', 'Folder to write the graphs to.')
    run_script(lambda: write_graphs(flags.FLAGS.output, flags.FLAGS.count, flags.FLAGS.seed))
