"""The training graph: loss, updates and moving averages of the weights."""

import contextlib
import functools
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Tuple

import numpy as np
import tensorflow.compat.v1 as tf

import models
from models.layers.fake_quant import FakeQuant
from models.layers.net import Net
from permafrost import engines
from permafrost.config import Config
from permafrost.datasets.loading import Dataset
from permafrost.errors import UserError, one_line
from permafrost.inputs import pipeline
from permafrost.recipes import catalog, durations, param_groups
from permafrost.recipes.recipe import Recipe
from permafrost.training import initialization, progressive_resizing
from permafrost.training.compression import distillation, pruning
from permafrost.training.initialization import TrainedWeights
from permafrost.training.kernels import conv_gradients, sigmoid_gelu
from permafrost.training.optimization import optimizers, weight_averaging
from permafrost.training.strategy import SINGLE_PROCESS, Strategy


class TrainGraph(NamedTuple):
    """The tensors of a training graph."""
    train: tf.Operation  # makes one update
    step: tf.Tensor  # the global step after the update of the same run
    scalars: Dict[str, tf.Tensor]  # losses, accuracy and learning rate of the batch, before it
    images: tf.Tensor  # the batch, preprocessed
    pruner: Optional[pruning.Pruning] = None


class Forward(NamedTuple):
    """The network as it computes the logits of some images."""
    net: Net
    logits: tf.Tensor  # float32 [B, classes]
    reads: Dict[str, tf.Tensor]  # the variables as the layers have read them, by name


def build(config: Config, dataset: Dataset, strategy: Strategy,
          session_config: Optional[tf.ConfigProto] = None,
          trained: Optional[TrainedWeights] = None,
          teacher: Optional[distillation.Teacher] = None) -> TrainGraph:
    """Build the training graph of `config`, with its input, in the default graph.

    `trained` holds initial values of the variables, `teacher` gives the soft targets; both are
    optional. Raises UserError as build_train_graph does, and if `trained` does not fit the model.
    """
    size = config.recipe.image_size
    with _explain_size(config, size, size):
        initial = initialization.choose(trained, config, dataset.classes) if trained else None
    with tf.name_scope('input'):
        batch = strategy.batches(dataset, config, tf.train.get_or_create_global_step(),
                                 teacher.logits if teacher else None)
    images, labels, *teacher_logits = batch
    return build_train_graph(
        config, len(dataset.classes), images, labels, strategy,
        functools.partial(pipeline.sample_images, dataset, config, session_config), initial,
        *teacher_logits)


def build_train_graph(config: Config, num_classes: int, images: tf.Tensor, labels: tf.Tensor,
                      strategy: Strategy = SINGLE_PROCESS,
                      sample_images: Optional[Callable[[], np.ndarray]] = None,
                      initial: Optional[initialization.Values] = None,
                      teacher_logits: Optional[tf.Tensor] = None) -> TrainGraph:
    """Build the network, its loss, its updates and its averages in the default graph.

    For `images`, `labels` and `teacher_logits` see strategy.Batch, for `sample_images` see Net;
    `initial` are initial values of variables. Raises UserError if the model cannot be built for
    such images or on this engine, or if --freeze leaves nothing to train.
    """
    recipe = config.recipe
    global_step = tf.train.get_or_create_global_step()
    is_frozen = initialization.is_frozen(config)
    build_network = functools.partial(_forward, config, num_classes, strategy)
    with initialization.initial_values(initial):
        full_size = build_network(images, sample_images)
    initialization.check_freeze(config, tf.trainable_variables())
    _note_layer_weight_decay(config, full_size.net)
    pruner = pruning.create(config, num_classes, is_frozen)
    with tf.name_scope('schedule'):
        step64 = tf.cast(global_step, tf.float64)
        factor = durations.schedule_factor_at(config, step64, tf)
        epoch = durations.epoch_at(config, step64)
    optimizer = optimizers.create(recipe, factor, epoch, global_step, is_frozen,
                                  pruner.masks if pruner else None)

    def backward(forward: Forward) -> Tuple[Dict[str, tf.Tensor], List[Any]]:
        with tf.name_scope('losses'):
            scalars = _losses(recipe, forward, labels, teacher_logits)
        return scalars, optimizer.compute_gradients(scalars['loss'])

    if recipe.progressive_resizing.sizes:
        scalars, gradients = progressive_resizing.by_size(
            recipe.progressive_resizing, images, epoch, full_size.net.seed, global_step,
            lambda smaller: backward(build_network(smaller)))
    else:
        scalars, gradients = backward(full_size)
    with tf.name_scope('update'):
        update, step = strategy.update(optimizer, gradients,
                                       weight_averaging.create(config, global_step))
    scalars['learning_rate'] = tf.cast(recipe.learning_rate * factor, tf.float32)
    if pruner:
        scalars['sparsity'] = tf.identity(pruner.sparsity)
    return TrainGraph(update, step, scalars, images, pruner)


def _note_layer_weight_decay(config: Config, net: Net) -> None:
    """Print if no layer has the layer_weight_decay, but for that of the catalog's recipe.

    That is for several models, and some of them name no layer.
    """
    recipe = config.recipe
    own = catalog.RECIPES.get(recipe.name, Recipe(recipe.name)).layer_weight_decay
    if recipe.layer_weight_decay not in (0., own) and not net.weight_decay_vars:
        print(f'note: layer_weight_decay has no effect: {config.model} trains none of the layers '
              'that it applies to', flush=True)


def _forward(config: Config, num_classes: int, strategy: Strategy, images: tf.Tensor,
             sample_images: Optional[Callable[[], np.ndarray]] = None) -> Forward:
    """Return the network of `config`, built for `images`."""
    dtype, global_step = config.recipe.compute_dtype, tf.train.get_or_create_global_step()
    net = Net(training=True, num_classes=num_classes,
              seed=config.seed + strategy.dropout_seed_offset, step=global_step,
              sample_images=sample_images, compute_dtype=dtype,
              **_kernels(dtype),
              # Maps leave oneDNN's layout for tf.pad there, which takes longer than it saves.
              compute_unread_outputs=engines.installed() == 'tf1-mkl',
              is_frozen=initialization.is_frozen(config),
              fake_quant=_fake_quant(config, global_step))
    reads: Dict[str, tf.Tensor] = {}

    def keep_read(getter: Callable[..., Any], name: str, *args: Any, **kwargs: Any) -> Any:
        reads[name] = getter(name, *args, **kwargs)
        return reads[name]

    _, height, width, _ = images.shape.as_list()
    with _explain_size(config, height, width), strategy.variable_scope(), tf.variable_scope(
            tf.get_variable_scope(), custom_getter=keep_read):
        return Forward(net, models.build(config.model, net, images), reads)


def _kernels(dtype: str) -> Dict[str, Any]:
    """Return the fields of Net that select faster kernels."""
    if dtype != 'bfloat16' or engines.gpu_name():
        return {}
    return {'conv_gradient': conv_gradients.NAME, 'sigmoid_gelu': sigmoid_gelu.sigmoid_gelu}


def _fake_quant(config: Config, global_step: tf.Tensor) -> Optional[FakeQuant]:
    """Return the rounding of the last quantization_aware_epochs of the recipe; None if 0."""
    if not config.recipe.quantization_aware_epochs:
        return None
    return FakeQuant(training=True, step=global_step,
                     first_step=durations.first_quantized_step(config))


@contextlib.contextmanager
def _explain_size(config: Config, height: int, width: int) -> Iterator[None]:
    """Context that turns the error of a model that cannot have such images into a UserError."""
    try:
        yield
    except ValueError as error:
        if 'Trying to share variable' in str(error):  # its shape is of the size of the images
            raise UserError(f'{config.model} needs one image size: leave --progressive_resizing '
                            'out') from error
        sizes = config.recipe.progressive_resizing.sizes
        is_resized = bool(sizes) and height != config.recipe.image_size
        usual = (catalog.image_size(config.model)
                 if config.model in catalog.DEFAULT_RECIPES else 0)
        if not is_resized and usual <= height:
            raise  # the size is not to blame
        advice = ('give --progressive_resizing larger sizes' if is_resized else
                  f'use --image_size={usual}, and images of at least that size')
        raise UserError(f'{config.model} cannot be built for images of {height}x{width} '
                        f'({one_line(error)}): {advice}') from error


def _losses(recipe: Recipe, forward: Forward, labels: tf.Tensor,
            teacher_logits: Optional[tf.Tensor] = None) -> Dict[str, tf.Tensor]:
    """Return the scalars 'loss', 'cross_entropy', 'weight_decay' and 'accuracy' of a batch.

    The loss is the sum of two: the cross entropy, with label smoothing if the recipe has it, and
    the weight decay. The scalar 'cross_entropy' is without smoothing, as in an evaluation. With a
    teacher there is a scalar 'distillation', the divergence from it, which has its share of the
    loss.
    """
    logits = forward.logits
    plain = tf.nn.sparse_softmax_cross_entropy_with_logits(logits=logits, labels=labels)
    if recipe.label_smoothing:
        classes = logits.shape.as_list()[1]
        targets = tf.one_hot(labels, classes, 1 - recipe.label_smoothing * (1 - 1 / classes),
                             recipe.label_smoothing / classes)
        smoothed = tf.nn.softmax_cross_entropy_with_logits_v2(logits=logits, labels=targets)
    else:
        smoothed = plain
    loss, more = tf.reduce_mean(smoothed), {}
    if teacher_logits is not None:
        more['distillation'] = tf.reduce_mean(
            distillation.soft_loss(recipe, logits, teacher_logits))
        weight = recipe.distillation_weight
        loss = (1 - weight) * loss + weight * more['distillation']
    weight_decay = _weight_decay(recipe, forward)
    accuracy = tf.reduce_mean(tf.cast(tf.equal(tf.argmax(logits, 1), labels), tf.float32))
    return {'loss': loss + weight_decay, 'cross_entropy': tf.reduce_mean(plain),
            'weight_decay': weight_decay, 'accuracy': accuracy, **more}


def _weight_decay(recipe: Recipe, forward: Forward) -> tf.Tensor:
    """Return the L2 term of the loss, of layer_weight_decay and weight_decay.

    decoupled_weight_decay (https://arxiv.org/abs/1711.05101) is the optimizer's.
    """
    decays = [(weights, recipe.layer_weight_decay * multiplier / weights.shape.num_elements())
              for weights, multiplier in forward.net.weight_decay_vars]
    # As the layers have read them: in a cluster another read is another transfer.
    decays += [(forward.reads[name], param_groups.param_group_for(recipe, name).weight_decay)
               for name in (variable.op.name for variable in tf.trainable_variables())
               if not forward.net.is_frozen(name)]
    terms = [decay * tf.nn.l2_loss(variable) for variable, decay in decays if decay]
    return tf.add_n(terms) if terms else tf.constant(0.)
