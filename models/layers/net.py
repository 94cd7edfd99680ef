"""Net: the layers that models are made of; counts parameters and operations as it builds them."""

import dataclasses
from typing import Callable, Iterable, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np
import tensorflow.compat.v1 as tf

from models.layers import (
    activations,
    fused_activations,
    initializers,
    random_seeds,
    whitening,
)
from models.layers.biases import add_biases
from models.layers.fake_quant import FakeQuant
from models.layers.padding import pad_for_multiple

BIAS_OPS, RELU_OPS, LRN_OPS = 1, 2, 36  # per element of the output


class Layer(NamedTuple):
    """A layer as built, with its counts for one image.

    Pooling, padding, dropout and concatenation are free. Batch normalization counts as the bias
    into which freezing folds it; its parameters are gamma, if it is trained, and beta.
    """
    name: str
    kind: str  # conv, fc, norm, ...; in a frozen graph the type of the operation, such as Conv2D
    output_shape: Optional[Tuple[int, ...]]  # of one image
    params: int
    ops: int  # 2 per multiply-accumulate, 1 per bias, sum or product; also activations, LRN_OPS
    macs: int  # multiply-accumulates of convolutions and fully connected layers


def product(numbers: Iterable[int]) -> int:
    """Return the product of `numbers`; 1 if there are none."""
    return int(np.prod(list(numbers)))


@dataclasses.dataclass(eq=False)
class Net:
    """Builds layers, and holds what they share. A model may set attributes before its first layer.

    Layers take and return tensors: maps are float [N, H, W, C], where only N may be unknown; rows
    are [N, D]. H' and W' are H and W divided by the stride. A layer's name is its variable scope.
    """
    training: bool  # use batch statistics and dropout
    num_classes: int = 10
    seed: int = 0  # of the initial weights and of dropout
    step: Optional[tf.Tensor] = None  # a scalar; the masks of dropout depend on it
    # Returns preprocessed training images, float [n, H, W, C], for initial weights that need data.
    sample_images: Optional[Callable[[], np.ndarray]] = None
    # Or bfloat16 (arXiv:1905.12322): type to which training casts the inputs of convolutions other
    # than depthwise ones. Biases, normalization, ReLU, pools and concatenation that follow keep it;
    # sums, variables and all other layers are float32.
    compute_dtype: str = 'float32'
    conv_gradient: Optional[str] = None  # of convolutions of stride 1; see tf.RegisterGradient
    # In training: returns sigmoid_gelu of a tensor in a precision, compute_dtype.
    sigmoid_gelu: Callable[[tf.Tensor, str], tf.Tensor] = fused_activations.sigmoid_gelu
    compute_unread_outputs: bool = False  # ignore multiple_of: for engines whose padding is slow
    # Whether a variable of this name is not trained. Batch normalization whose moving mean is not
    # uses its moving statistics in training too.
    is_frozen: Callable[[str], bool] = lambda name: False
    # Rounds weights, and the inputs of layers that integers can compute. None: no rounding.
    fake_quant: Optional[FakeQuant] = None
    padding: str = 'SAME'  # or VALID, of convolutions and pools
    activation: str = 'relu'  # see models.layers.activations
    initializer: str = 'glorot_normal'  # see models.layers.initializers
    norm_decay: float = 0.9  # of the moving statistics of batch normalization
    norm_epsilon: float = 1e-3  # added to variances
    norm_scale: bool = True  # whether batch normalization trains its scale, gamma; else it is 1
    # Images that training normalizes together (arXiv:1705.08741); 0: the whole batch.
    ghost_batch_size: int = 0
    layers: List[Layer] = dataclasses.field(default_factory=list)  # as built, in order
    # Weights and the multipliers of the layer_weight_decay of the recipe.
    weight_decay_vars: List[Tuple[tf.Tensor, float]] = dataclasses.field(default_factory=list)

    def conv(self, name: str, x: tf.Tensor, filters: int, size: int, decay_multiplier: float = 0.,
             norm: bool = False, stride: int = 1, bias: bool = True,
             activation: Optional[str] = None, multiple_of: int = 1) -> tf.Tensor:
        """Return convolution, bias or norm, activation: [N, H, W, C] -> [N, H', W', filters].

        `decay_multiplier` multiplies the recipe's layer_weight_decay of the weights.
        With `multiple_of`, H' and W' are rounded down to a multiple, because the VALID pool that
        follows drops the last rows and columns. This needs a stride of 1 and padding SAME.
        """
        x = self.rounded(x)
        with tf.variable_scope(name):
            shape = [size, size, x.shape.as_list()[-1], filters]
            weights = self._weights(shape, decay_multiplier)
            x = self._conv2d(x, weights, stride, self.padding, multiple_of)
            return self._complete('conv', name, x, shape, bias, norm, activation)

    def depthwise(self, name: str, x: tf.Tensor, size: int, stride: int = 1) -> tf.Tensor:
        """Return the convolution of each channel on its own: [N, H, W, C] -> [N, H', W', C]."""
        x = self.rounded(x)
        with tf.variable_scope(name):
            shape = [size, size, x.shape.as_list()[-1], 1]
            x = tf.nn.depthwise_conv2d(x, self._weights(shape, depthwise=True),
                                       [1, stride, stride, 1], self.padding)
            return self._complete('depthwise', name, x, shape, activation='linear')

    def separable(self, name: str, x: tf.Tensor, filters: int, size: int, stride: int = 1,
                  norm: bool = False, activation: Optional[str] = None) -> tf.Tensor:
        """Return a depthwise, then a 1x1 convolution (arXiv:1610.02357); shapes as conv."""
        x = self.depthwise(name + '/depthwise', x, size, stride)
        return self.conv(name + '/pointwise', x, filters, 1, norm=norm, activation=activation)

    def whiten(self, name: str, x: tf.Tensor, size: int, epsilon: float,
               with_negatives: bool = False, bias: bool = False,
               padding: Optional[str] = None) -> tf.Tensor:
        """Return a convolution whose outputs are uncorrelated; see models.layers.whitening.

        [N, H, W, C] -> [N, H', W', size * size * C], or twice as many channels `with_negatives`.
        The weights are not trained: they follow from `sample_images`, or are random without it.
        """
        x = self.rounded(x)
        with tf.variable_scope(name) as scope:
            channels = x.shape.as_list()[-1]
            shape = [size, size, channels, size * size * channels * (2 if with_negatives else 1)]
            if self.training and self.sample_images:
                initial = whitening.whitening_filters(self.sample_images(), size, epsilon,
                                                      with_negatives)
            else:
                initial = initializers.initialize('pytorch_default', shape,
                                                  random_seeds.seeds(self.seed, scope.name))
            weights = tf.get_variable('weights', initializer=initial, trainable=False)
            weights = self.fake_quant.weights(weights) if self.fake_quant else weights
            x = self._conv2d(x, weights, 1, padding or self.padding)
            return self._complete('whiten', name, x, shape, bias, activation='linear')

    def fc(self, name: str, x: tf.Tensor, units: int, decay_multiplier: float = 0.,
           activation: Optional[str] = None, bias: bool = True, norm: bool = False,
           initializer: Optional[str] = None) -> tf.Tensor:
        """Return a fully connected layer, completed as conv: [N, ...] -> [N, units]."""
        x = self.rounded(x)
        with tf.variable_scope(name):
            shape = [product(x.shape.as_list()[1:]), units]
            x = tf.reshape(x, [-1, shape[0]]) if x.shape.ndims > 2 else x
            x = tf.matmul(x, self._weights(shape, decay_multiplier, initializer))
            return self._complete('fc', name, x, shape, bias, norm, activation)

    def norm(self, name: str, x: tf.Tensor) -> tf.Tensor:
        """Return the batch normalization (Ioffe and Szegedy 2015) of [N, H, W, C] or [N, C]."""
        with tf.variable_scope(name):
            x, params = self._batch_norm(x)
        x = tf.cast(x, tf.float32)
        return self._add_layer('norm', name, x, params, ops_per_element=BIAS_OPS)

    def activate(self, name: str, x: tf.Tensor, activation: Optional[str] = None) -> tf.Tensor:
        """Return the activation of a tensor of any shape."""
        with tf.name_scope(name):
            x, ops = self._activate(x, activation)
        return self._add_layer('activation', name, x, ops_per_element=ops)

    def add(self, name: str, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        """Return the sum of two tensors of one shape."""
        x, y = self.rounded(x), self.rounded(y)
        return self._add_layer('add', name, tf.add(x, y, name=name), ops_per_element=1)

    def multiply(self, name: str, x: tf.Tensor, factor: float) -> tf.Tensor:
        """Return `x` times a constant `factor`."""
        x = self.rounded(x)
        return self._add_layer('multiply', name, tf.multiply(x, factor, name=name),
                               ops_per_element=1)

    def shortcut(self, name: str, x: tf.Tensor, filters: int, stride: int) -> tf.Tensor:
        """Return every stride-th position, padded with channels of zeros; shapes as conv.

        It is option A of He et al. 2015 (https://arxiv.org/abs/1512.03385, section 4.2).
        """
        padding = filters - x.shape.as_list()[-1]
        x = self.rounded(x)
        with tf.name_scope(name):
            y = _every(_before_cast(x), stride) if self.training else x[:, ::stride, ::stride]
            y = tf.pad(y, [[0, 0], [0, 0], [0, 0], [padding // 2, padding - padding // 2]])
            y = tf.cast(y, x.dtype)
        return self._add_layer('shortcut', name, self._on_same_grid(y, x))

    def max_pool(self, name: str, x: tf.Tensor, size: int = 3, stride: int = 2,
                 padding: Optional[str] = None) -> tf.Tensor:
        """Return the maxima of windows: [N, H, W, C] -> [N, H', W', C]."""
        x = self.rounded(x)
        y = tf.nn.max_pool(_before_cast(x), [1, size, size, 1], [1, stride, stride, 1],
                           padding or self.padding, name=name)
        y = tf.cast(y, x.dtype)
        return self._add_layer('max_pool', name, self._on_same_grid(y, x))

    def avg_pool(self, name: str, x: tf.Tensor, size: int = 3, stride: int = 2) -> tf.Tensor:
        """Return the means of windows, without what pads them; shapes as max_pool."""
        x = self.rounded(x)
        x = tf.nn.avg_pool(x, [1, size, size, 1], [1, stride, stride, 1], self.padding, name=name)
        return self._add_layer('avg_pool', name, x)

    def global_avg_pool(self, name: str, x: tf.Tensor) -> tf.Tensor:
        """Return the means over all positions: [N, H, W, C] -> [N, C]."""
        return self._add_layer('global_avg_pool', name,
                               tf.reduce_mean(self.rounded(x), [1, 2], name=name))

    def lrn(self, name: str, x: tf.Tensor) -> tf.Tensor:
        """Return the response normalization over 9 channels (Krizhevsky et al. 2012, 3.3)."""
        x = tf.nn.lrn(x, depth_radius=4, bias=1., alpha=0.001 / 9., beta=0.75, name=name)
        return self._add_layer('lrn', name, x, ops_per_element=LRN_OPS)

    def dropout(self, name: str, x: tf.Tensor, rate: float) -> tf.Tensor:
        """Return `x`, in training with a `rate` of its elements zeroed and the others scaled up.

        The mask depends only on seed, name and step.
        """
        x = y = self.rounded(x)
        if self.training:
            with tf.variable_scope(name) as scope:
                noise = tf.random.stateless_uniform(
                    tf.shape(x), random_seeds.seeds(self.seed, scope.name, self.step),
                    dtype=x.dtype)
                y = x * (tf.cast(noise >= rate, x.dtype) / (1. - rate))
        return self._add_layer('dropout', name, self._on_same_grid(y, x))

    def concat(self, name: str, xs: Sequence[tf.Tensor]) -> tf.Tensor:
        """Return maps joined by channels: [N, H, W, C1], [N, H, W, C2] ... -> [N, H, W, sum]."""
        x = tf.cast(tf.concat(_all_before_cast(xs) or xs, 3, name=name), tf.float32)
        return self._add_layer('concat', name, x)

    def rounded(self, x: tf.Tensor) -> tf.Tensor:
        """Return activations as integers hold them; see FakeQuant. Without one, return `x`."""
        return self.fake_quant.activations(x) if self.fake_quant else x

    def _on_same_grid(self, y, x):
        return self.fake_quant.same_range(y, x) if self.fake_quant else y

    def _conv2d(self, x, weights, stride, padding, multiple_of=1):
        dtype = tf.as_dtype(self.compute_dtype) if self.training else tf.float32
        x = tf.cast(_before_cast(x), dtype)
        if multiple_of > 1 and (stride, padding) != (1, 'SAME'):
            raise ValueError(f'{x.op.name}: multiple_of needs a stride of 1 and padding SAME')
        if multiple_of > 1 and not self.compute_unread_outputs:
            x, padding = pad_for_multiple(x, weights.shape.as_list()[0], multiple_of)
        override = {'Conv2D': self.conv_gradient} if self.conv_gradient and stride == 1 else {}
        with tf.get_default_graph().gradient_override_map(override):
            y = tf.nn.conv2d(x, tf.cast(weights, dtype), [1, stride, stride, 1], padding)
        return tf.cast(y, tf.float32)

    def _weights(self, shape, decay_multiplier=0., initializer=None, depthwise=False):
        """Return the weights of the current scope; initial values depend on seed and name only."""
        def initial(shape, dtype=None, partition_info=None):
            del dtype, partition_info  # all are float32, none is partitioned
            return initializers.initialize(initializer or self.initializer, shape,
                                           random_seeds.seeds(self.seed, full_name), depthwise)
        full_name = tf.get_variable_scope().name + '/weights'
        weights = tf.get_variable('weights', shape, initializer=initial)
        if decay_multiplier and not self.is_frozen(full_name):
            self.weight_decay_vars.append((weights, decay_multiplier))
        if self.fake_quant:
            return (self.fake_quant.depthwise_weights if depthwise else self.fake_quant.weights)(
                weights)
        return weights

    def _complete(self, kind, name, x, weights_shape, bias=False, norm=False, activation=None):
        """Add bias or norm, and activation, to `x`, the product with weights of a shape."""
        params, ops = product(weights_shape), 0
        macs = params * product(x.shape.as_list()[1:-1])
        if norm:
            with tf.variable_scope('bn'):
                x, norm_params = self._batch_norm(x)
            params, ops = params + norm_params, BIAS_OPS
        elif bias:
            biases = tf.get_variable('biases', [x.shape.as_list()[-1]],
                                     initializer=tf.zeros_initializer())
            # Without an activation (logits, whitened patches), the sum is not rounded.
            if (activation or self.activation) != 'linear':
                x = _before_cast(x)
            x = add_biases(x, biases)
            params, ops = params + biases.shape.num_elements(), BIAS_OPS
        x, activation_ops = self._activate(x, activation)
        return self._add_layer(kind, name, x, params, macs, ops + activation_ops)

    def _activate(self, x, activation):
        """Return the activation of `x`, and its operations per element."""
        name = activation or self.activation
        function, ops = activations.get_activation(name)
        is_sum = x.op.type == 'AddV2' and all(y.shape == x.shape for y in x.op.inputs)
        terms = _all_before_cast(x.op.inputs) if is_sum else []
        if self.training and name == 'sigmoid_gelu':
            x = self.sigmoid_gelu(_before_cast(x), self.compute_dtype)
        elif self.training and name == 'relu' and terms:
            x = fused_activations.relu_of_sum(*terms)
        else:
            x = function(_before_cast(x) if name == 'relu' else tf.cast(x, tf.float32))
        return tf.cast(x, tf.float32), ops

    def _batch_norm(self, x):
        """Return `x` normalized, with variables of the current scope, and how many are trained.

        Training uses the statistics of the batch, and adds the updates of the moving ones, which
        inference uses, to the collection UPDATE_OPS.
        """
        def vector(name, value, trainable):
            return tf.get_variable(name, [channels], initializer=tf.constant_initializer(value),
                                   trainable=trainable)

        channels = x.shape.as_list()[-1]
        gamma = vector('gamma', 1., True) if self.norm_scale else tf.constant(
            np.ones(channels, np.float32), name='gamma')
        beta = vector('beta', 0., True)
        mean, variance = vector('moving_mean', 0., False), vector('moving_variance', 1., False)
        x = _before_cast(x)
        maps = x if x.shape.ndims == 4 else tf.reshape(x, [-1, 1, 1, channels])
        if self.training and not self.is_frozen(mean.op.name):
            y, batch_mean, batch_variance = self._ghost_batch_norm(maps, gamma, beta)
            for moving, batch in ((mean, batch_mean), (variance, batch_variance)):
                tf.add_to_collection(tf.GraphKeys.UPDATE_OPS, moving.assign_sub(
                    (1 - self.norm_decay) * (moving - batch)))
        else:
            y = self._fused_batch_norm(maps, gamma, beta, mean, variance)[0]
        y = y if y.shape.ndims == x.shape.ndims else tf.reshape(y, [-1, channels])
        return y, channels * (2 if self.norm_scale else 1)

    def _ghost_batch_norm(self, x, gamma, beta):
        """Return maps normalized in groups, and the averages of the groups' means and variances.

        The fused operation on slices of the batch, which cost no copy, is several times faster
        than separate means and sums. The last group includes the remainder.
        """
        batch_size, size = x.shape.as_list()[0], self.ghost_batch_size
        if size and batch_size is None:
            raise ValueError(f'{x.op.name}: groups of {size} images need a known batch size')
        groups = max(1, batch_size // size) if size else 1
        if groups == 1:
            return self._fused_batch_norm(x, gamma, beta)
        sizes = [size] * (groups - 1) + [batch_size - size * (groups - 1)]
        y, means, variances = zip(*(
            self._fused_batch_norm(group, gamma, beta) for group in tf.split(x, sizes)))
        return tf.concat(y, 0), tf.add_n(means) / groups, tf.add_n(variances) / groups

    def _fused_batch_norm(self, x, gamma, beta, mean=None, variance=None):
        """Return `x` normalized with its statistics or those given, its mean and its variance.

        tf.nn.fused_batch_norm is the same, but raises epsilons below 1.001e-5 in TensorFlow 1.15.
        """
        return tf.raw_ops.FusedBatchNormV3(
            x=x, scale=gamma, offset=beta, mean=tf.constant([]) if mean is None else mean,
            variance=tf.constant([]) if variance is None else variance, epsilon=self.norm_epsilon,
            is_training=mean is None)[:3]

    def _add_layer(self, kind, name, x, params=0, macs=0, ops_per_element=0):
        shape = tuple(x.shape.as_list()[1:])
        ops = 2 * macs + ops_per_element * product(shape)
        self.layers.append(Layer(name, kind, shape, params, ops, macs))
        if self.fake_quant:
            self.fake_quant.note_layer(x, name)
        return x


def _before_cast(x: tf.Tensor) -> tf.Tensor:
    """Return the bfloat16 tensor of which `x` is the cast, with the same numbers; else `x`."""
    is_cast = x.op.type == 'Cast' and x.op.inputs[0].dtype == tf.bfloat16
    return x.op.inputs[0] if is_cast else x


def _all_before_cast(xs: Iterable[tf.Tensor]) -> Sequence[tf.Tensor]:
    """Return the bfloat16 tensors of which `xs` are the casts; none unless all are casts."""
    narrow = [_before_cast(x) for x in xs]
    return narrow if all(x.dtype == tf.bfloat16 for x in narrow) else []


def _every(x: tf.Tensor, stride: int) -> tf.Tensor:
    """Return every stride-th row and column of [N, H, W, C].

    Slices of whole rows of memory, and their gradients, are several times faster than strides.
    """
    height, width, channels = x.shape.as_list()[1:]
    if height % stride or width % stride:
        return x[:, ::stride, ::stride]
    shape = [-1, height // stride, stride, width // stride, stride * channels]
    first = tf.slice(tf.reshape(x, shape), [0] * 5, [-1, shape[1], 1, shape[3], channels])
    return tf.reshape(first, [-1, shape[1], shape[3], channels])
