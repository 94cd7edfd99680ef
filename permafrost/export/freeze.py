"""From a run to one file that classifies: variables become constants, what only trains is gone.

    run -> inference graph -> constants -> batch norm folded -> lean -> stripped -> checked -> file
"""

import hashlib
import os

import numpy as np
import tensorflow.compat.v1 as tf

from permafrost import files, runs, runtime
from permafrost.datasets import loading
from permafrost.errors import UsageError, UserError
from permafrost.evaluation import graph_def, inference_graph, metrics
from permafrost.export import graph_passes, layer_counts
from permafrost.export.saved_model import write_saved_model
from permafrost.training import checkpoints
CHECKED = 500  # images whose logits are compared with eval's
TOLERANCE = 1e-5  # of the larger of 1 and the largest logit


def freeze(run, session_config, step=None, weights=None, output=None, saved_model=None,
           dataset=None, data_dir=None):
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
    step, checkpoint = checkpoints.find_checkpoint(run, step)
    weights = weights or inference_graph.default_weights(config)
    dataset = loading.open_for_run(config, dataset, data_dir)
    runs.check_data(run, extra, dataset)
    images, labels = loading.load(dataset, 'test')
    with tf.Graph().as_default(), tf.Session(config=session_config) as session:
        inference = inference_graph.build_inference_graph(config, extra['classes'], dataset.image_shape)
        variables = inference_graph.checkpoint_variable_map(config, weights)
        checkpoints.restore(tf.train.Saver(variables), session, checkpoint, variables)
        graph = graph_passes.freeze_session(session, extra['classes'])
        expected = session.run(inference.predictions, {inference.images: images[:CHECKED]})
    content = graph.SerializeToString(deterministic=True)
    figures, difference = _check(content, session_config, images, labels, expected)
    result = dict(
        _figures(content), model=config.model, run=os.path.normpath(run), step=step,
        weights=weights, recipe=config.recipe.name, dataset=dataset.name,
        data_set_identity=dataset.identity, classes=extra['classes'],
        image_shape=list(dataset.image_shape),
        image_size=config.recipe.image_size, trained_with=extra['versions'],
        accuracy=figures['accuracy'], correct=figures['correct'], images=figures['images'],
        accuracy_of='this file, on the test images', largest_difference=difference)
    _write(output, content, result)
    print('frozen: %s, %d bytes: %d of %d test images correct, accuracy %.4f' % (
        output, len(content), figures['correct'], figures['images'], figures['accuracy']))
    if saved_model:
        write_saved_model(graph, saved_model, session_config)
        print('saved model: %s' % saved_model)
    return result


def _figures(content):
    """What the json file says of the bytes `content` alone, and who made them."""
    graph = tf.GraphDef.FromString(content)
    layers, _ = layer_counts.count_layers(graph)
    return dict(
        layer_counts.totals(layers), bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(), op_types=layer_counts.op_types(graph),
        engine=runtime.installed(), versions=runtime.versions(), date=runs.utc_now())


def _fold_one(nodes, uses, norm):
    """Replaces the node `norm` of `nodes` ({name: node}) by a BiasAdd of its name."""
    gamma, beta, mean, variance = (graph_passes._value(nodes[name]) for name in norm.input[1:])
    scale = gamma / np.sqrt(variance + norm.attr['epsilon'].f)
    shift = beta - mean * scale
    x = norm.input[0]
    found = graph_passes._folded(nodes, uses, x, scale)
    if found is None:
        nodes[norm.name + '/scale'] = graph_passes._const(norm.name + '/scale', scale.astype(np.float32))
        scaled = nodes[norm.name + '/Mul'] = tf.NodeDef(
            name=norm.name + '/Mul', op='Mul', input=[x, norm.name + '/scale'])
        scaled.attr['T'].type = tf.float32.as_datatype_enum
        x = scaled.name
    else:
        x, more = found
        shift = shift + more
    nodes[norm.name + '/shift'] = graph_passes._const(norm.name + '/shift', shift.astype(np.float32))
    bias = nodes[norm.name] = tf.NodeDef(
        name=norm.name, op='BiasAdd', input=[x, norm.name + '/shift'])
    bias.attr['T'].type = tf.float32.as_datatype_enum


def _check(content, session_config, images, labels, expected):
    """Loads the bytes `content` afresh; (figures of all images, largest difference of logits).

    Raises UserError where an operation has no place in the graph, or its logits are not the
    `expected` ones of the first images.
    """
    graph = tf.GraphDef.FromString(content)
    wrong = sorted({node.op for node in graph.node} - graph_passes.ALLOWED_OPS)
    if wrong:
        raise UserError('not written: %s may not be in a frozen graph (export.ALLOWED lists what '
                        'may)' % ', '.join(wrong))
    with tf.Graph().as_default(), tf.Session(config=session_config) as session:
        graph_def.import_graph(graph)
        found = inference_graph.InferenceGraph(*(session.graph.get_tensor_by_name(name + ':0')
                                       for name in graph_passes.INTERFACE_NODES))
        got, chances = session.run([found.predictions, found.probabilities],
                                   {found.images: images[:len(expected)]})
        difference = float(np.abs(got - expected).max() / max(1., np.abs(expected).max()))
        if not (difference <= TOLERANCE and np.allclose(chances.sum(1), 1, atol=1e-4)):
            raise UserError("not written: logits differ from eval's by %g (at most %g may be)"
                            % (difference, TOLERANCE))
        return metrics.compute_metrics(session, found, images, labels, CHECKED), difference


def _write(output, content, result):
    try:
        os.makedirs(os.path.dirname(os.path.abspath(output)), exist_ok=True)
        files.write_files_atomically({output: content, output[:-len('.pb')] + '.json': files.json_text(result)})
    except OSError as error:
        raise UserError('cannot write %s (%s): name another --output' % (output, error.strerror))
