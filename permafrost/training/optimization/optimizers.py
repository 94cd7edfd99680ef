"""Optimizers by name: tf.train's updates, with a learning rate and weight decay for each variable.

Slots are their only state, so a run resumes from a checkpoint and the global step.
"""

import math
import re
from typing import Any, Callable, Mapping, Optional

import tensorflow.compat.v1 as tf

from permafrost.errors import shown, unknown_name_error
from permafrost.recipes import catalog
from permafrost.recipes.param_groups import ParamGroup, param_group_for
from permafrost.recipes.recipe import Recipe
from permafrost.training.optimization.gradients import gradients

STRONG_DECAY = 0.05  # of a variable in a step


class Sgd(tf.train.Optimizer):
    """w -= learning_rate * (gradient + decoupled_weight_decay * w): the base class of the others.

    `factor` multiplies the learning rates of the recipe. It and `epoch` are float64 scalars.
    Variables for whose name `is_frozen` is true get no gradient, and so no update. `masks`, by the
    name of the variable, are 0 where a variable is pruned: there it stays 0.
    """

    def __init__(self, recipe: Recipe, factor: tf.Tensor, epoch: tf.Tensor,
                 global_step: tf.Variable, is_frozen: Callable[[str], bool] = lambda name: False,
                 masks: Optional[Mapping[str, tf.Variable]] = None):
        super().__init__(use_locking=False, name=type(self).__name__)
        self._recipe = recipe
        self._epoch = epoch
        self._global_step = global_step
        self._is_frozen = is_frozen
        self._masks = masks or {}
        of_recipe = ParamGroup('', recipe.learning_rate)  # with as many digits as in a group
        numbers = {group.learning_rate for group in (of_recipe, *recipe.param_groups)}
        self._rates = {number: tf.cast(number * factor, tf.float32)
                       for number in sorted(numbers - {None})}

    def compute_gradients(self, loss: tf.Tensor, var_list: Any = None, **unused: Any) -> Any:
        trained = [variable for variable in var_list or tf.trainable_variables()
                   if not self._is_frozen(variable.op.name)]
        ends = {variable.op.name: param_group_for(self._recipe, variable.op.name).freeze_epoch
                for variable in trained}
        return list(zip(gradients(loss, trained, ends, self._epoch), trained))

    def _resource_apply_dense(self, grad, var):
        group = param_group_for(self._recipe, var.op.name)
        rate, decay = self._rates[group.learning_rate], group.decoupled_weight_decay
        is_trained = self._is_trained(var)
        if is_trained is not None:
            rate = rate * tf.cast(is_trained, tf.float32)
        mask = self._masks.get(var.op.name)
        grad = grad if mask is None else grad * mask
        with tf.control_dependencies([grad]):  # decay after all workers have read the weights
            decayed = [var.assign_sub(rate * decay * var)] if decay else []
        # Updates are differences of values that are read late: other workers update them, too.
        with tf.control_dependencies([grad, *decayed]):
            update = self._update(grad, var, rate)
        if mask is None:
            return update
        # The update moves weights that have no gradient, too: by their momentum.
        with tf.control_dependencies([update]):
            return var.assign_sub(var * (1. - mask))

    def _is_trained(self, var):
        """Return whether `var` is trained at this epoch, a bool scalar; None: at all epochs."""
        end = param_group_for(self._recipe, var.op.name).freeze_epoch
        return self._epoch < end if math.isfinite(end) else None

    def _update(self, grad, var, rate):
        return tf.raw_ops.ResourceApplyGradientDescent(var=var.handle, alpha=rate, delta=grad)


class Momentum(Sgd):
    """m = momentum * m + gradient; w -= rate * m."""
    nesterov = False

    def _create_slots(self, var_list):
        for var in var_list:
            self._zeros_slot(var, 'momentum', 'Momentum')

    def _update(self, grad, var, rate):
        return tf.raw_ops.ResourceApplyMomentum(
            var=var.handle, accum=self.get_slot(var, 'momentum').handle, lr=rate, grad=grad,
            momentum=self._recipe.momentum, use_nesterov=self.nesterov)


class Nesterov(Momentum):
    """m = momentum * m + gradient; w -= rate * (gradient + momentum * m)."""
    nesterov = True


class Adam(Sgd):
    """Kingma and Ba 2014 (https://arxiv.org/abs/1412.6980); with decoupled_weight_decay, AdamW."""
    BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8

    def _create_slots(self, var_list):
        for var in var_list:
            for name in ('m', 'v'):
                self._zeros_slot(var, name, 'Adam_' + name)

    def _update(self, grad, var, rate):
        updates = tf.cast(self._global_step, tf.float32) + 1
        return tf.raw_ops.ResourceApplyAdam(
            var=var.handle, m=self.get_slot(var, 'm').handle, v=self.get_slot(var, 'v').handle,
            beta1_power=self.BETA1 ** updates, beta2_power=self.BETA2 ** updates, lr=rate,
            beta1=self.BETA1, beta2=self.BETA2, epsilon=self.EPSILON, grad=grad)


class Muon(Nesterov):
    """Orthogonalized momentum for the weights of convolutions, Nesterov's for all other variables.

    Keller Jordan 2024 (https://kellerjordan.github.io/posts/muon/), as in his CIFAR-10 record:
    before each update the weights of a convolution are scaled to the norm sqrt(filters), and their
    momentum is 0.6; that of the recipe is for all other variables. The weights of a depthwise
    convolution, [k, k, channels, 1], are not a matrix and use Nesterov's.
    """
    MOMENTUM = 0.6

    def _update(self, grad, var, rate):
        if not is_matrix(var.shape):
            return super()._update(grad, var, rate)
        filters = var.shape.as_list()[3]
        direction = self._direction(grad, var, self.MOMENTUM)
        with tf.control_dependencies([direction]):
            value = var.read_value()
        scale = filters ** 0.5 * tf.math.rsqrt(tf.reduce_sum(tf.square(value)))
        change = (1. - scale) * value + rate * direction
        is_trained = self._is_trained(var)
        if is_trained is not None:  # a rate of 0 does not keep it from being scaled
            change = change * tf.cast(is_trained, tf.float32)
        return var.assign_sub(change)

    def _direction(self, grad, var, momentum):
        slot = self.get_slot(var, 'momentum')
        average = slot.assign_add((momentum - 1.) * slot.read_value() + grad)
        matrix = tf.reshape(grad + momentum * average, [-1, var.shape.as_list()[3]])
        return tf.reshape(orthogonalize(matrix, self._recipe.compute_dtype), var.shape)


class MuonUnscaled(Muon):
    """Muon as in the post, without scaling the weights, for networks without batch normalization.

    All variables use the recipe's momentum; a convolution with more filters than inputs learns
    faster.
    """

    def _update(self, grad, var, rate):
        if not is_matrix(var.shape):
            return super()._update(grad, var, rate)
        inputs, filters = var.shape[:3].num_elements(), var.shape.as_list()[3]
        return var.assign_sub(rate * max(1., filters / inputs) ** 0.5
                              * self._direction(grad, var, self._recipe.momentum))


def is_matrix(shape: tf.TensorShape) -> bool:
    """Return whether weights of this shape are those of a convolution that is not depthwise."""
    return shape.ndims == 4 and shape[3] > 1


def orthogonalize(matrix: tf.Tensor, compute_dtype: str = 'float32', steps: int = 3) -> tf.Tensor:
    """Return `matrix` [m, n] with its singular values brought closer to 1.

    This is the Newton-Schulz iteration with the coefficients of Muon: 3 steps, as in the record,
    which computes them in bfloat16. Small singular values stay smaller.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    wide = matrix.shape.as_list()[0] < matrix.shape.as_list()[1]
    x = matrix / (tf.sqrt(tf.reduce_sum(tf.square(matrix))) + 1e-7)
    x = tf.cast(x, compute_dtype)
    for _ in range(steps):
        square = tf.matmul(x, x, transpose_a=not wide, transpose_b=wide)  # the smaller product
        polynomial = b * square + c * tf.matmul(square, square)
        x = a * x + (tf.matmul(polynomial, x) if wide else tf.matmul(x, polynomial))
    return tf.cast(x, tf.float32)


OPTIMIZERS = {'sgd': Sgd, 'momentum': Momentum, 'nesterov': Nesterov, 'adam': Adam, 'muon': Muon,
              'muon_unscaled': MuonUnscaled}


def create(recipe: Recipe, factor: tf.Tensor, epoch: tf.Tensor, global_step: tf.Variable,
           is_frozen: Callable[[str], bool] = lambda name: False,
           masks: Optional[Mapping[str, tf.Variable]] = None) -> Sgd:
    """Return the optimizer of `recipe`; see Sgd. Raises UsageError for an unknown name.

    The network must have been built: a note names parameter groups without a variable.
    """
    if recipe.optimizer not in OPTIMIZERS:
        raise unknown_name_error('optimizer', recipe.optimizer, OPTIMIZERS)
    _note_unmatched_groups(recipe)
    _note_strong_decay(recipe, is_frozen)
    return OPTIMIZERS[recipe.optimizer](recipe, factor, epoch, global_step, is_frozen, masks)


def _note_strong_decay(recipe: Recipe, is_frozen: Callable[[str], bool]) -> None:
    """Print which variables weight decay would soon make zero.

    A recipe may have groups for the variables of one model, and a weight decay for no other's.
    """
    optimizer = OPTIMIZERS[recipe.optimizer]
    shares = {}
    for variable in tf.trainable_variables():
        is_normalized = issubclass(optimizer, Adam) or (  # the decay is in the gradient, too
            issubclass(optimizer, Muon) and is_matrix(variable.shape))
        if not is_normalized and not is_frozen(variable.op.name):
            group = param_group_for(recipe, variable.op.name)
            momentum = recipe.momentum if issubclass(optimizer, Momentum) else 0.
            shares[variable.op.name] = group.learning_rate * group.weight_decay / (1 - momentum)
    names = [name for name, share in shares.items() if share >= STRONG_DECAY]
    if names:
        shown_names = ', '.join(names[:3]) + ', ...' * (len(names) > 3)
        print(f'note: weight decay shrinks {shown_names} by {shares[names[0]]:.0%} in each step '
              'at the peak learning rate: lower --weight_decay, or exclude them with '
              "--param_groups '<pattern> weight_decay=0'", flush=True)


def _note_unmatched_groups(recipe: Recipe) -> None:
    """Print which parameter groups match no variable, but for those of the catalog's recipe.

    That may be for several models, and have groups that fit some of them.
    """
    own = catalog.RECIPES.get(recipe.name)
    known = [group.pattern for group in own.param_groups] if own else []
    names = [variable.op.name for variable in tf.trainable_variables()]
    for group in recipe.param_groups:
        if group.pattern not in known and not any(re.search(group.pattern, name) for name in names):
            print(f'note: the parameter group {shown(str(group))} has no effect: no variable '
                  'matches it', flush=True)
