"""Pruning while training: the share of zeros rises, and what is zero stays zero.

The masks are variables of the training graph, named after those they mask: `conv1/weights/mask`.
The optimizer multiplies gradients and updated variables by them. Evaluation and freezing multiply
by the masks of the checkpoint, so that moving averages have the same zeros.
"""

from typing import Any, Callable, Dict, List, Optional, Tuple

import numpy as np
import tensorflow.compat.v1 as tf

import models
from permafrost.config import Config
from permafrost.errors import UserError, printable
from permafrost.recipes import durations
from permafrost.training import initialization
from permafrost.training.checkpoints import finding
from permafrost.training.compression.channels import Channels
from permafrost.training.compression.pruning_methods import (
    MULTIPLES,
    Lamp,
    LayerMagnitude,
    PruningMethod,
    StructuredFilters,
)

UPDATES = 100  # of the masks, from the first to the last


def sparsity_at(config: Config, step: float) -> float:
    """Return the share of zeros after `step`.

    It is final * (1 - (1 - t)^3), for t from 0 to 1 in UPDATES stages: Zhu and Gupta 2017,
    https://arxiv.org/abs/1710.01878, equation 1.
    """
    first, last = durations.prune_steps(config)
    share = min(max((step - first) / max(last - first, 1e-9), 0.), 1.)
    stage = np.floor(share * UPDATES + 1e-9) / UPDATES
    return _final_sparsity(config) * (1. - (1. - stage) ** 3)


def _final_sparsity(config: Config) -> float:
    return config.recipe.sparsity or config.recipe.structured_sparsity


class Pruning:
    """The masks of a training, and the operations that change them; see create."""

    def __init__(self, method: PruningMethod):
        self.method = method
        self.variables = {variable.op.name: variable for variable in tf.trainable_variables()}
        self.masks = {name: tf.get_variable(f'{name}/mask', shape, trainable=False,
                                            initializer=tf.ones_initializer())
                      for name, shape in method.shapes.items()}
        self.sparsity = tf.get_variable('pruning/sparsity', [], trainable=False,
                                        initializer=tf.zeros_initializer())
        with tf.name_scope('pruning'):
            self._new_sparsity = tf.placeholder(tf.float32, [])
            self._new_masks = {name: tf.placeholder(tf.float32, mask.shape)
                               for name, mask in self.masks.items()}
            changes: List[Any] = [self.sparsity.assign(self._new_sparsity)]
            for name, mask in self._new_masks.items():
                # Subtracted: an assignment would lose what other workers add meanwhile.
                zeros = self.variables[name] * (1. - mask)
                changes += [self.masks[name].assign(mask),
                            self.variables[name].assign_sub(zeros)]
            self._change = tf.group(*changes)

    def prune(self, session: tf.Session, sparsity: float) -> Tuple[int, int]:
        """Choose what is zero at `sparsity` by the weights of `session`, and make it so.

        Return how many weights or filters are zero, and of how many: see PruningMethod.count_zeros.
        """
        values, before = session.run([
            {name: self.variables[name] for name in self.method.reads}, self.masks])
        masks = self.method.compute_masks(values, before, sparsity)
        session.run(self._change, {self._new_sparsity: sparsity, **{
            self._new_masks[name]: mask for name, mask in masks.items()}})
        return self.method.count_zeros(masks)


class PruningHook(tf.train.SessionRunHook):
    """Prunes between steps, before they are evaluated and saved; `step` is as in other hooks."""

    def __init__(self, pruning: Pruning, config: Config, step: tf.Tensor):
        self._pruning, self._config, self._step = pruning, config, step
        self._sparsity = 0.

    def after_create_session(self, session: tf.Session, unused_coord: Any) -> None:
        self._sparsity = float(session.run(self._pruning.sparsity))

    def before_run(self, unused_context: Any) -> tf.train.SessionRunArgs:
        return tf.train.SessionRunArgs(self._step)

    def after_run(self, context: Any, values: Any) -> None:
        sparsity = float(np.float32(sparsity_at(self._config, int(values.results))))
        if sparsity <= self._sparsity:
            return
        zeros, total = self._pruning.prune(context.session, sparsity)
        self._sparsity = sparsity
        if sparsity == np.float32(_final_sparsity(self._config)):
            what = 'weights' if self._config.recipe.sparsity else 'filters'
            print(f'pruned at step {values.results}: {zeros:,} of the {total:,} {what} that can be '
                  f'pruned ({100 * zeros / total:.3g} %)', flush=True)


def create(config: Config, num_classes: int,
           is_frozen: Callable[[str], bool] = lambda name: False) -> Optional[Pruning]:
    """Return the Pruning of a recipe, None if it has none; the network must have been built.

    Layers in `spared_layers` and variables for which `is_frozen` is true stay as they are, and so
    do depthwise convolutions, which have few weights: their channels go with those before them.
    Raises UserError if a layer to spare does not exist, or if nothing is pruned.
    """
    recipe = config.recipe
    if not _final_sparsity(config):
        return None
    net, logits = models.build_inference(config.model, num_classes, recipe.image_size)
    names = [layer.name for layer in net.layers if layer.kind in ('conv', 'fc')]
    spared = _spared(config, names)
    pruned = [f'{name}/weights' for name in names
              if name not in spared and not is_frozen(f'{name}/weights')]
    shapes = {variable.op.name: tuple(variable.shape.as_list())
              for variable in tf.trainable_variables() if not is_frozen(variable.op.name)}
    method: PruningMethod
    if recipe.sparsity:
        weights = {name: shapes[name] for name in pruned}
        method = Lamp(weights) if recipe.sparsity_scope == 'global' else LayerMagnitude(weights)
    else:
        method = _filters(Channels(logits.graph, logits.op.name), pruned, shapes,
                          recipe.structured_sparsity)
    if not method.shapes:
        raise UserError(f'no layer of {config.model} can be pruned: change --spared_layers or '
                        '--freeze')
    if isinstance(method, StructuredFilters) and method.removes_none:
        raise UserError(f'--structured_sparsity={recipe.structured_sparsity:g} is too low to '
                        f'remove any filter of {config.model} (layer widths stay multiples of '
                        f"{' or '.join(map(str, MULTIPLES))}): use a higher value")
    return Pruning(method)


def _spared(config: Config, names: List[str]) -> List[str]:
    """Return those of the layers `names` that spared_layers means."""
    spared: List[str] = []
    for each in config.recipe.spared_layers:
        found = {'first': names[:1], 'last': names[-1:]}.get(
            each, [name for name in names if name == each or name.startswith(each + '/')])
        if not found:
            raise UserError(f'{config.model} has no layer {printable(each)}: set --spared_layers '
                            f"to first, last or any of {', '.join(names)}")
        spared += found
    return spared


def _filters(channels: Channels, pruned: List[str], shapes: Dict[str, Tuple[int, ...]],
             final: float) -> StructuredFilters:
    """Return the method for the filters that only layers whose weights are `pruned` make."""
    makers: Dict[int, List[str]] = {}
    for use in channels.uses:
        if use.makes:
            for root in channels.root(use.ids):
                makers.setdefault(root, []).append(use.parameter)
    uses = [(use, channels.root(use.ids)) for use in channels.uses]
    trained = {variable.op.name: variable.shape.ndims for variable in tf.trainable_variables()}
    # A beta or bias that --freeze keeps: its filters would not become zero.
    kept = {root for use, ids in uses if trained.get(use.parameter) == 1
            and use.parameter not in shapes and not use.parameter.endswith('gamma') for root in ids}
    roots = np.array(sorted({*makers} - kept))
    layers: Dict[Tuple[str, ...], List[int]] = {}  # by those that make the filters
    for root, is_fixed in zip(roots, channels.is_fixed(roots)):
        if not is_fixed and set(makers[root]) <= set(pruned):
            layers.setdefault(tuple(makers[root]), []).append(int(root))
    numbers = {number for layer in layers.values() for number in layer}
    weights = {use.parameter: ids for use, ids in uses
               if not use.makes and trained.get(use.parameter, 0) > 1}
    made = {use.parameter: ids for use, ids in uses
            if use.parameter in shapes and (use.makes or len(shapes[use.parameter]) == 1)
            and numbers & set(ids)}
    gammas = {name: ids for name, ids in made.items() if name.endswith('gamma')}
    filters = {name: ids for name, ids in made.items() if name not in gammas}
    masks = {name: (1,) * (len(shapes[name]) - 1) + (len(ids),) for name, ids in filters.items()}
    return StructuredFilters(masks, list(layers.values()), filters, weights, gammas, final)


def masked(reader: Any, name: str, value: np.ndarray) -> np.ndarray:
    """Return the value of variable `name` of a checkpoint times its mask, if it has one there.

    `value` may be its moving average. The moving mean of a batch normalization has the mask of its
    beta: a filter that is zero has no mean. Raises UserError if the mask has another shape.
    """
    owner = initialization.beta_of(name) if name.endswith('/moving_mean') else name
    if not reader.has_tensor(f'{owner}/mask'):
        return value
    try:
        return value * np.broadcast_to(reader.get_tensor(f'{owner}/mask'), value.shape)
    except ValueError:
        raise UserError(f'the checkpoint is damaged: {printable(owner)}/mask does not fit its '
                        'variable: use another --step') from None


def apply_masks(session: tf.Session, checkpoint: str, variables: Dict[str, tf.Variable]) -> None:
    """Multiply restored `variables` by the masks that the checkpoint has for them, if any.

    Raises UserError if the checkpoint cannot be read: a training may have deleted it.
    """
    try:
        with finding.open_checkpoint(checkpoint) as reader:
            if not reader.has_tensor('pruning/sparsity'):
                return
            for variable in variables.values():
                value = session.run(variable)
                pruned = masked(reader, variable.op.name, value)
                if pruned is not value:
                    variable.load(pruned, session)
    except (tf.errors.OpError, OSError) as error:
        raise UserError(f'cannot read {checkpoint} ({finding.reason(error)}): use another --step')
