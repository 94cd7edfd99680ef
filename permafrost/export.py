"""From a run to one file that classifies: variables become constants, what only trains is gone.

    run -> inference graph -> constants -> batch norm folded -> lean -> stripped -> checked -> file
"""

import collections
import hashlib
import os
import shutil
import tempfile

import numpy as np
import tensorflow.compat.v1 as tf

from permafrost import checkpoints, data, engine, evaluation, frozen, runs
from permafrost.config import UsageError, UserError, json_text, write_together

NAMED = ('images', 'inputs', 'predictions', 'probabilities')
LABELS = 'labels'

# What may be in a frozen file: arithmetic on tensors, without state, files or chance. A layer of
# models.net that needs another adds it here; label_image refuses what is not for inference.
ALLOWED = frozenset((
    'Placeholder Const Identity Cast Reshape Squeeze StridedSlice ConcatV2 Pad '
    'Conv2D DepthwiseConv2dNative MatMul BiasAdd MaxPool AvgPool LRN '
    'Relu Relu6 Elu Erf Sigmoid Softmax Mean Sub Mul Add AddV2 Square Sqrt Rsqrt Maximum Minimum '
    'RealDiv'
).split())

# The GraphDef version that TF 1.15 writes: an older TensorFlow than the one that froze a graph
# may load it, as nothing in it needs a newer.
PRODUCER = 134
CHECKED = 500  # images whose logits are compared with eval's
TOLERANCE = 1e-5  # of the larger of 1 and the largest logit


def freeze(run, session_config, step=None, weights=None, output=None, saved_model=None,
           data_set=None, data_dir=None):
    """What freeze_graph.py does: writes `output` and a json file beside it; returns its value.

    Args:
      run: run directory.
      step: of the checkpoint; None: the last.
      weights: 'averaged' or 'raw'; None: those that eval uses.
      output: path ending in .pb; None: trained_models/<model>.pb.
      saved_model: a directory to make and fill with a SavedModel as well, or None.
      data_set, data_dir: where the run's data set is now; None: where it was.
    Raises UserError for what the user can mend, and where the frozen graph is not what eval ran.
    """
    config, extra = runs.read_config(run)
    output = output or os.path.join('trained_models', config.model + '.pb')
    if not output.endswith('.pb'):
        raise UsageError('--output must end in .pb, not be %r' % output)
    if saved_model and os.path.exists(saved_model):
        raise UserError('%s is there already: name another --saved_model, such as %s' % (
            saved_model, os.path.join(saved_model, '1')))
    step, checkpoint = runs.checkpoint(run, step)
    weights = weights or evaluation.default_weights(config)
    data_set = data.open_of_run(config, data_set, data_dir)
    runs.check_data(run, extra, data_set)
    images, labels = data.load(data_set, 'test')
    with tf.Graph().as_default(), tf.Session(config=session_config) as session:
        inference = evaluation.inference_graph(config, extra['classes'], data_set.image_shape)
        variables = evaluation.restored_variables(config, weights)
        checkpoints.restore(tf.train.Saver(variables), session, checkpoint, variables)
        graph = frozen_graph(session, extra['classes'])
        expected = session.run(inference.predictions, {inference.images: images[:CHECKED]})
    content = graph.SerializeToString(deterministic=True)
    figures, difference = _check(content, session_config, images, labels, expected)
    result = dict(
        _figures(content), model=config.model, run=os.path.normpath(run), step=step,
        weights=weights, recipe=config.recipe.name, data_set=data_set.name,
        data_set_identity=data_set.identity, classes=extra['classes'],
        image_shape=list(data_set.image_shape),
        image_size=config.recipe.image_size, trained_with=extra['versions'],
        accuracy=figures['accuracy'], correct=figures['correct'], images=figures['images'],
        accuracy_of='this file, on the test images', largest_difference=difference)
    _write(output, content, result)
    print('frozen: %s, %d bytes: %d of %d test images correct, accuracy %.4f' % (
        output, len(content), figures['correct'], figures['images'], figures['accuracy']))
    if saved_model:
        _write_saved_model(graph, saved_model, session_config)
        print('saved model: %s' % saved_model)
    return result


def _figures(content):
    """What the json file says of the bytes `content` alone, and who made them."""
    graph = tf.GraphDef.FromString(content)
    layers, _ = frozen.layers(graph)
    return dict(
        frozen.totals(layers), bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(), op_types=frozen.op_types(graph),
        engine=engine.installed(), versions=engine.versions(), date=runs.now())


def frozen_graph(session, classes):
    """The GraphDef of the inference graph in `session`, with the weights it has, ready to write."""
    graph = frozen.cut(session.graph.as_graph_def(), ['probabilities'])
    graph = fold(lean(constants(graph, session)))
    graph.node.add(name=LABELS, op='Const').attr['value'].tensor.CopyFrom(
        tf.make_tensor_proto(classes, tf.string))
    graph.node[-1].attr['dtype'].type = tf.string.as_datatype_enum
    return strip(graph)


def constants(graph, session):
    """`graph` with each variable a Const of its value in `session`."""
    variables = [node.name for node in graph.node if node.op in ('VarHandleOp', 'VariableV2')]
    of_name = {variable.op.name: variable for variable in tf.global_variables()}
    values = dict(zip(variables, session.run([of_name[name] for name in variables])))
    result = tf.GraphDef(versions=graph.versions)
    for node in graph.node:
        if node.name in values:
            result.node.append(_const(node.name, values[node.name]))
        elif node.op == 'ReadVariableOp':
            new = result.node.add(name=node.name, op='Identity', input=node.input)
            new.attr['T'].CopyFrom(node.attr['dtype'])
        else:
            result.node.append(node)
    return result


def _const(name, value):
    node = tf.NodeDef(name=name, op='Const')
    node.attr['dtype'].type = tf.as_dtype(value.dtype).as_datatype_enum
    node.attr['value'].tensor.CopyFrom(tf.make_tensor_proto(value))
    return node


def lean(graph):
    """`graph` without Identity nodes: what a named one passes on takes its name."""
    nodes = {node.name: node for node in graph.node}
    passed = {node.name: node.input[0] for node in graph.node if node.op == 'Identity'}

    def source(name):
        while name in passed:
            name = passed[name]
        return name

    renamed = {}
    for name in NAMED:
        made = nodes.get(source(name))
        if name in passed and made and made.name not in NAMED and made.name not in renamed:
            renamed[made.name] = name
    kept = {name for name in passed if name in NAMED and name not in renamed.values()}
    passed = {name: passed[name] for name in passed if name not in kept}
    result = tf.GraphDef(versions=graph.versions)
    for node in graph.node:
        if node.name not in passed:
            new = result.node.add()
            new.CopyFrom(node)
            new.name = renamed.get(node.name, node.name)
            new.input[:] = [renamed.get(source(name), source(name)) for name in node.input]
    return result


def fold(graph):
    """`graph`, whose weights are constants, with batch normalization in them and a bias.

    Between a convolution and its normalization there may be a pool of maxima where no scale is
    negative (and none is that is not trained): the largest number, scaled, is the largest of the
    scaled ones. Where what is normalized is no convolution with weights of its own, or is used
    elsewhere too, a multiplication and a bias take its place.
    """
    nodes = collections.OrderedDict((node.name, node) for node in graph.node)
    uses = collections.Counter(name for node in graph.node for name in node.input)
    for node in graph.node:
        if node.op.startswith('FusedBatchNorm'):
            if node.attr['is_training'].b:
                raise ValueError('%s normalizes by the batch: no inference graph' % node.name)
            _fold_one(nodes, uses, node)
    result = tf.GraphDef(versions=graph.versions, node=nodes.values())
    return frozen.cut(result, ['probabilities'])


def _fold_one(nodes, uses, norm):
    """Replaces the node `norm` of `nodes` ({name: node}) by a BiasAdd of its name."""
    gamma, beta, mean, variance = (_value(nodes[name]) for name in norm.input[1:])
    scale = gamma / np.sqrt(variance + norm.attr['epsilon'].f)
    shift = beta - mean * scale
    x = norm.input[0]
    found = _folded(nodes, uses, x, scale)
    if found is None:
        nodes[norm.name + '/scale'] = _const(norm.name + '/scale', scale.astype(np.float32))
        scaled = nodes[norm.name + '/Mul'] = tf.NodeDef(
            name=norm.name + '/Mul', op='Mul', input=[x, norm.name + '/scale'])
        scaled.attr['T'].type = tf.float32.as_datatype_enum
        x = scaled.name
    else:
        x, more = found
        shift = shift + more
    nodes[norm.name + '/shift'] = _const(norm.name + '/shift', shift.astype(np.float32))
    bias = nodes[norm.name] = tf.NodeDef(
        name=norm.name, op='BiasAdd', input=[x, norm.name + '/shift'])
    bias.attr['T'].type = tf.float32.as_datatype_enum


def _folded(nodes, uses, x, scale):
    """Puts the factors `scale` of the node `x` of `nodes` into the weights that it comes from.

    Returns the node to use in the place of `x`, and what is to be added besides; None where
    there are no weights that serve it alone.
    """
    last, before = x, nodes[x]
    while uses[x] == 1 and (
            before.op == 'MaxPool' and (scale >= 0).all() or
            before.op == 'Reshape' and nodes[before.input[0]].op == 'MatMul'):
        x = before.input[0]
        before = nodes[x]
    between, bias = x != last, None
    if before.op == 'BiasAdd' and uses[x] == 1 and nodes[before.input[1]].op == 'Const':
        bias = before.input[1]
        x = before.input[0]
        before = nodes[x]
    weights = nodes.get(before.input[1]) if before.op in frozen.PRODUCTS else None
    if (weights is None or weights.op != 'Const' or not uses[x] == uses[weights.name] == 1
            or between and bias and uses[bias] != 1):
        return None
    value = _value(weights)
    by = scale.reshape(value.shape[2:]) if before.op == 'DepthwiseConv2dNative' else scale
    nodes[weights.name] = _const(weights.name, (value * by).astype(np.float32))
    added = _value(nodes[bias]) * scale if bias else 0.
    if between and bias:
        nodes[bias] = _const(bias, added.astype(np.float32))
        added = 0.
    return last if between else x, added


def _value(const):
    """The value of a Const node in double precision."""
    if const.op != 'Const':
        raise ValueError('%s is computed, not a constant' % const.name)
    return tf.make_ndarray(const.attr['value'].tensor).astype(np.float64)


def strip(graph):
    """`graph` without what an older TensorFlow may not know and none needs.

    That is attributes that have their default value, attributes for internal use, functions and
    debug information.
    """
    with tf.Graph().as_default() as imported:
        frozen.add(graph)
    result = tf.GraphDef()
    result.versions.producer = min(PRODUCER, graph.versions.producer)
    for node in graph.node:
        new = result.node.add(name=node.name, op=node.op, input=node.input)
        defaults = {attribute.name: attribute.default_value for attribute
                    in imported.get_operation_by_name(node.name).op_def.attr
                    if attribute.HasField('default_value')}
        for name, value in node.attr.items():
            if not name.startswith('_') and value != defaults.get(name):
                new.attr[name].CopyFrom(value)
    return result


def _check(content, session_config, images, labels, expected):
    """Loads the bytes `content` afresh; (figures of all images, largest difference of logits).

    Raises UserError where an operation has no place in the graph, or its logits are not the
    `expected` ones of the first images.
    """
    graph = tf.GraphDef.FromString(content)
    wrong = sorted({node.op for node in graph.node} - ALLOWED)
    if wrong:
        raise UserError('not written: %s may not be in a frozen graph (export.ALLOWED lists what '
                        'may)' % ', '.join(wrong))
    with tf.Graph().as_default(), tf.Session(config=session_config) as session:
        frozen.add(graph)
        found = evaluation.Inference(*(session.graph.get_tensor_by_name(name + ':0')
                                       for name in NAMED))
        got, chances = session.run([found.predictions, found.probabilities],
                                   {found.images: images[:len(expected)]})
        difference = float(np.abs(got - expected).max() / max(1., np.abs(expected).max()))
        if not (difference <= TOLERANCE and np.allclose(chances.sum(1), 1, atol=1e-4)):
            raise UserError("not written: logits differ from eval's by %g (at most %g may be)"
                            % (difference, TOLERANCE))
        return evaluation.measure(session, found, images, labels, CHECKED), difference


def _write(output, content, result):
    try:
        os.makedirs(os.path.dirname(os.path.abspath(output)), exist_ok=True)
        write_together({output: content, output[:-len('.pb')] + '.json': json_text(result)})
    except OSError as error:
        raise UserError('cannot write %s (%s): name another --output' % (output, error.strerror))


def _write_saved_model(graph, directory, session_config):
    """A SavedModel in the new `directory`, which appears whole or not at all."""
    directory = os.path.abspath(directory)
    temporary = None
    try:
        os.makedirs(os.path.dirname(directory), exist_ok=True)
        temporary = tempfile.mkdtemp(dir=os.path.dirname(directory), prefix='.saved_model')
        os.chmod(temporary, 0o755)
        with tf.Graph().as_default(), tf.Session(config=session_config) as session:
            frozen.add(graph)
            tensors = {name: session.graph.get_tensor_by_name(name + ':0') for name in NAMED}
            signature = tf.saved_model.predict_signature_def(
                {'images': tensors['images']},
                {name: tensors[name] for name in ('probabilities', 'predictions')})
            builder = tf.saved_model.Builder(os.path.join(temporary, 'model'))
            builder.add_meta_graph_and_variables(
                session, [tf.saved_model.SERVING],
                {tf.saved_model.DEFAULT_SERVING_SIGNATURE_DEF_KEY: signature},
                strip_default_attrs=True)
            builder.save()
        os.rename(os.path.join(temporary, 'model'), directory)
    except (OSError, tf.errors.OpError) as error:
        raise UserError('cannot write %s (%s): name another --saved_model' % (
            directory, getattr(error, 'strerror', None) or ' '.join(str(error).split())[:200]))
    finally:
        if temporary:
            shutil.rmtree(temporary, ignore_errors=True)
