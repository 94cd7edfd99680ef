"""Graph."""

import collections
import functools
import math

import tensorflow.compat.v1 as tf

import models
from models.layers.net import Net
from permafrost import runtime
from permafrost.errors import UserError, unknown_name_error
from permafrost.inputs import pipeline
from permafrost.recipes import durations, param_groups, schedules
from permafrost.training import optimizers, weight_averaging
from permafrost.training.strategy import SINGLE_PROCESS

# Tensors of a training graph: `step` reads the global step after the update of that very run,
# `train` makes the update, `scalars` are {name: scalar tensor} of the batch before it.
TrainGraph = collections.namedtuple('Training', 'train step scalars images')


def build_train_graph(config, num_classes, images, labels, strategy=SINGLE_PROCESS,
                      sample=None):
    """Losses, updates and weight averages in the default graph.

    Args:
      config: a Config.
      num_classes: number of classes of the data set.
      images: float [B, h, w, 3], preprocessed.
      labels: int64 [B].
      strategy: where the training runs.
      sample: see Net.
    Returns:
      A Training.
    Raises UserError where the model cannot be built for such images.
    """
    recipe = config.recipe
    if recipe.precision != 'float32' and runtime.installed() != 'tf2':
        raise UserError('this run is trained in %s, which %s has not: resume it with tf2' % (
            recipe.precision, runtime.installed()))
    global_step = tf.train.get_or_create_global_step()
    net = Net(training=True, num_classes=num_classes, seed=config.seed + strategy.dropout_seed_offset,
              step=global_step, sample=sample, precision=recipe.precision)
    try:
        with strategy.variable_scope():
            logits = models.build(config.model, net, images)
    except ValueError as error:
        raise UserError('%s cannot be built for images of %dx%d (%s): try --set image_size=%d' % (
            (config.model,) + tuple(images.shape.as_list()[1:3])
            + (str(error).splitlines()[0][:200], models.IMAGE_SIZES.get(config.model, 32))))
    scalars = _losses(recipe, net, logits, labels)
    rate = tf.cast(durations.learning_rate_at(config, tf.cast(global_step, tf.float64),
                                         schedules.tensors()), tf.float32)
    update, step = strategy.update(_optimizer(config, rate, global_step), scalars['loss'],
                                  weight_averaging.averages(config, global_step))
    return TrainGraph(update, step, dict(scalars, learning_rate=rate), images)


def _optimizer(config, rate, global_step):
    """The recipe's optimizer, with the rules of the recipe for each variable."""
    recipe = config.recipe
    epoch = durations.epoch_at(config, tf.cast(global_step, tf.float64))

    def own_rate(variable):
        rule = param_groups.param_group_for(recipe, variable.op.name)
        own = rate * rule.rate if rule.rate != 1 else rate
        return own if math.isinf(rule.until) else own * tf.cast(epoch < rule.until, tf.float32)

    def own_decay(variable):
        if recipe.decay_mode != 'decoupled':
            return 0.
        return recipe.weight_decay * param_groups.param_group_for(recipe, variable.op.name).decay
    return optimizers.optimizer(recipe.optimizer, own_rate, own_decay, recipe.momentum,
                                global_step)


def _losses(recipe, net, logits, labels):
    """{'loss': ..., its parts, 'accuracy'} of a batch, each a scalar."""
    if recipe.decay_mode not in WEIGHT_DECAY_MODES:
        raise unknown_name_error('decay_mode', recipe.decay_mode, WEIGHT_DECAY_MODES)
    if recipe.label_smoothing:
        classes = logits.shape.as_list()[1]
        cross_entropy = tf.nn.softmax_cross_entropy_with_logits_v2(
            logits=logits, labels=tf.one_hot(
                labels, classes, 1 - recipe.label_smoothing * (1 - 1 / classes),
                recipe.label_smoothing / classes))
    else:
        cross_entropy = tf.nn.sparse_softmax_cross_entropy_with_logits(
            logits=logits, labels=labels)
    cross_entropy = tf.reduce_mean(cross_entropy)
    decay = tf.add_n([by * tf.nn.l2_loss(v) for v, by in WEIGHT_DECAY_MODES[recipe.decay_mode](recipe, net)]
                     or [tf.constant(0.)])
    accuracy = tf.reduce_mean(tf.cast(tf.equal(tf.argmax(logits, 1), labels), tf.float32))
    return {'loss': cross_entropy + decay, 'cross_entropy': cross_entropy,
            'weight_decay': decay, 'accuracy': accuracy}


def _by_layers(recipe, net):
    return [(v, recipe.weight_decay * multiplier / v.shape.num_elements())
            for v, multiplier in net.decayed]


def _coupled(recipe, unused_net):
    pairs = [(v, recipe.weight_decay * param_groups.param_group_for(recipe, v.op.name).decay)
             for v in tf.trainable_variables()]
    return [(v, by) for v, by in pairs if by]


# What weight decay adds to the loss, as pairs of a variable and what multiplies half its squares:
# layers: weight_decay / size, times what the model says, for the layers that it says.
# coupled: weight_decay, for every variable.
# decoupled: nothing; the optimizer takes rate * weight_decay of each variable off it
# (https://arxiv.org/abs/1711.05101). In the last two rules may say otherwise.
WEIGHT_DECAY_MODES = {'layers': _by_layers, 'coupled': _coupled, 'decoupled': lambda *unused: []}


def build(config, dataset, strategy, session_config=None):
    """The Training of `config`, and its input, in the default graph."""
    global_step = tf.train.get_or_create_global_step()
    return build_train_graph(
        config, len(dataset.classes), *strategy.batches(dataset, config, global_step),
        strategy=strategy,
        sample=functools.partial(pipeline.sample_images, dataset, config, session_config))
