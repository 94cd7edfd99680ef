"""Initial values of the variables, from trained weights or not; and which are not trained."""

import contextlib
import re
from typing import Any, Callable, ContextManager, Dict, List, Mapping, NamedTuple, Optional, Tuple

import numpy as np
import tensorflow.compat.v1 as tf

import models
from models.layers.net import Net
from permafrost.config import Config
from permafrost.errors import UsageError, UserError, printable, shown
from permafrost.training.optimization.optimizers import is_matrix

Values = Dict[str, np.ndarray]  # by the name of the variable


class FoldedNorm(NamedTuple):
    """A batch normalization as freezing leaves it: y = scale * x + shift, float arrays [channels].

    `mean` and `variance` are those of x for images of the training.
    """
    scale: np.ndarray
    shift: np.ndarray
    mean: np.ndarray
    variance: np.ndarray


class TrainedWeights(NamedTuple):
    """The weights of an earlier training."""
    source: str  # where they are from, for messages
    values: Values
    classes: Tuple[str, ...]  # (): unknown
    norms: Mapping[str, FoldedNorm] = {}  # by the scope of their variables


def is_frozen(config: Config) -> Callable[[str], bool]:
    """Return a function that tells whether a variable of this name is not trained: --freeze."""
    return lambda name: config.freeze is not None and re.search(config.freeze, name) is not None


def check_freeze(config: Config, variables: List[tf.Variable]) -> None:
    """Raise UsageError if --freeze matches all of the trainable `variables`, or nothing.

    Statistics of batch normalization count, too. Also raises if --freeze keeps those of a batch
    normalization whose input muon scales.
    """
    frozen = sum(is_frozen(config)(variable.op.name) for variable in variables)
    has_statistics = any(
        variable.op.name.endswith('/moving_mean') and is_frozen(config)(variable.op.name)
        for variable in tf.global_variables())
    if config.freeze is not None and (
            frozen == len(variables) or not frozen and not has_statistics):
        names = ', '.join(variable.op.name for variable in variables)
        share = 'all' if frozen else 'none'
        raise UsageError(f'--freeze {shown(config.freeze)} matches {share} of the variables that '
                         f'are trained: {names}')
    _check_frozen_statistics(config)


def _check_frozen_statistics(config: Config) -> None:
    """Raise UsageError if frozen statistics normalize what muon scales or what may be pruned.

    Statistics of the batch undo that scaling; moving averages, which are older, do not. They give a
    filter that is pruned a constant output; inference, which prunes the mean too, gives 0.
    """
    recipe, frozen = config.recipe, is_frozen(config)
    scaled = ''  # the weights of the layer, if muon scales them
    for variable in tf.global_variables():
        name = variable.op.name
        if name.endswith('/weights'):
            is_scaled = recipe.optimizer == 'muon' and is_matrix(variable.shape)
            scaled = name if is_scaled and not frozen(name) else ''
        if not name.endswith('/moving_mean') or not frozen(name):
            continue
        if scaled:
            raise UsageError(f'--freeze {shown(config.freeze)} keeps the statistics {name}, but '
                             f'muon scales {scaled} before each update: use '
                             '--optimizer=muon_unscaled, or freeze these weights too')
        if recipe.structured_sparsity and not frozen(beta_of(name)):
            raise UsageError(f'--freeze {shown(config.freeze)} keeps the statistics {name} of '
                             'filters that structured_sparsity may prune: freeze its beta too')


def beta_of(name: str) -> str:
    """Return the name of the beta next to the moving_mean `name`."""
    return name[:-len('moving_mean')] + 'beta'


def choose(trained: TrainedWeights, config: Config, classes: Tuple[str, ...]) -> Values:
    """Return the initial values of the variables that take them; print which layers these are.

    The last layer is re-initialized if `classes` differ. Raises UserError if another variable is
    missing or has another shape.
    """
    size = config.recipe.image_size
    net, logits = models.build_inference(config.model, len(classes), size)
    shapes = {variable.op.name: variable.shape.as_list()
              for variable in logits.graph.get_collection(tf.GraphKeys.GLOBAL_VARIABLES)}
    last = [layer.name for layer in net.layers if layer.params][-1]
    values = {**trained.values, **_unfold(trained.norms, net)}
    is_new = trained.classes not in ((), tuple(classes))
    if not trained.classes:  # the graph does not name them: its shapes tell
        is_new = any(name.startswith(last + '/') and list(np.shape(values.get(name))) != shape
                     for name, shape in shapes.items())
    taken: Values = {}
    for name, shape in shapes.items():
        if is_new and name.startswith(last + '/'):
            continue
        if name not in values or list(values[name].shape) != shape:
            problem = (f'has shape {list(values[name].shape)}' if name in values else 'is missing')
            raise UserError(f'{printable(trained.source)} does not fit {config.model} at '
                            f'{size}x{size}: {name} {problem}, expected shape {shape}: name '
                            'another --init_from')
        taken[name] = values[name].astype(np.float32)
    print(f'initial weights from {printable(trained.source)}: {_layers(taken)}' +
          f'; new, for other classes: {last}' * is_new, flush=True)
    return taken


def _layers(names: Values) -> str:
    """Return the layers of the variables `names`, in order."""
    return ', '.join(dict.fromkeys(re.sub('(/bn)?/[^/]*$', '', name) for name in names))


def _unfold(norms: Mapping[str, FoldedNorm], net: Net) -> Values:
    """Return the variables of batch normalizations that compute the same as the folded ones.

    In training the statistics of a batch replace the moving ones; for images such as those of
    `mean` and `variance` the outputs are the same then too.
    """
    values: Values = {}
    for scope, norm in norms.items():
        variance = norm.variance if net.norm_scale else 1 / norm.scale ** 2 - net.norm_epsilon
        values.update({
            scope + '/gamma': norm.scale * np.sqrt(variance + net.norm_epsilon),
            scope + '/beta': norm.shift + norm.scale * norm.mean,
            scope + '/moving_mean': norm.mean, scope + '/moving_variance': variance})
    return values


def initial_values(values: Optional[Values]) -> ContextManager[Any]:
    """Return a context in which variables get `values`, by name, as their initial values."""
    if not values:
        return contextlib.nullcontext()

    def getter(getter: Callable[..., tf.Variable], name: str, *args: Any, **kwargs: Any) -> Any:
        value = values.get(name)
        if value is not None:
            kwargs.update(shape=value.shape, initializer=tf.constant_initializer(value))
        return getter(name, *args, **kwargs)

    return tf.variable_scope(tf.get_variable_scope(), custom_getter=getter)
