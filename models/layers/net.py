"""Net: the layer vocabulary of the models; counts parameters and operations as it builds."""

import collections

import numpy as np
import tensorflow.compat.v1 as tf

from models.layers import activations, initializers, random_seeds, whitening

# One layer as built, for one image. `ops` are 2 per multiply-accumulate, 1 per bias added, sum or
# product, 2 per ReLU (models.activations counts the others) and 36 per element of an LRN; pooling,
# averaging, padding, dropout and concatenation are free. Batch normalization counts as the bias
# into which freezing folds it; its parameters are gamma, where it is trained, and beta.
# `macs` are the multiply-accumulates of convolutions and fully connected layers alone.
Layer = collections.namedtuple('Layer', 'name kind output_shape params ops macs')

BIAS_OPS, RELU_OPS, LRN_OPS = 1, 2, 36  # per output element


def product(numbers):
    """The product of a sequence of ints; 1 of none."""
    result = 1
    for number in numbers:
        result *= number
    return result


class Net:
    """Builds layers, and holds what they share.

    Layers take and return tensors: maps are float [N, H, W, C], with H, W and C known and N
    any; rows are [N, D]. A layer's name is its variable scope.

    Attributes that a model may set before its first layer:
      padding: 'SAME' or 'VALID', of convolutions and of pools that are not given another.
      activation: that of layers that are not given another; see models.activations.
      initializer: of weights that are not given another; see models.initializers.
      norm_decay, norm_epsilon: of the moving statistics of batch normalization, and what it
        adds to variances (1.001e-5 at least: cuDNN's limit, which TensorFlow keeps everywhere).
      norm_scale: whether its scale, gamma, is trained, or 1.
      norm_group: images normalized together in training ("ghost" batch norm,
        https://arxiv.org/abs/1705.08741); 0: the whole batch.
    Attributes to read:
      layers: a Layer for each one built, in order.
      decayed: pairs of a variable and the multiplier of the recipe's weight decay.
    """

    def __init__(self, training, num_classes=10, seed=0, step=None, sample=None,
                 precision='float32'):
        """
        Args:
          step: a scalar tensor, moves the dropout of a `training` graph on.
          sample: a function that returns training images, float array [n, H, W, C], as the
            network sees them; layers that begin with what they find in them call it.
          precision: to what a `training` graph rounds what convolutions, but for depthwise ones,
            multiply: 'float32' or 'bfloat16' (8 bits, https://arxiv.org/abs/1905.12322), with
            sums in float32; variables and all other layers are float32 in any case.
        """
        self.training = training
        self.num_classes = num_classes
        self.seed = seed
        self.step = step
        self.sample = sample
        self.precision = precision
        self.padding = 'SAME'
        self.activation = 'relu'
        self.initializer = 'glorot_normal'
        self.norm_decay = 0.9
        self.norm_epsilon = 1e-3
        self.norm_scale = True
        self.norm_group = 0
        self.layers = []
        self.decayed = []

    def conv(self, name, x, filters, size, decay=0., norm=False, stride=1, bias=True,
             activation=None):
        """Convolution, bias or batch normalization, activation.

        [N, H, W, C] -> [N, H / stride, W / stride, filters]
        """
        with tf.variable_scope(name):
            shape = [size, size, x.shape.as_list()[-1], filters]
            x = self._convolved(x, self._weights(shape, decay), stride, self.padding)
            x, params, ops = self._complete(x, bias, norm, activation)
        macs = product(shape) * product(x.shape.as_list()[1:3])
        return self._record('conv', name, x, product(shape) + params, macs, ops)

    def depthwise(self, name, x, size, stride=1, bias=True, norm=False, activation=None):
        """As conv, but each channel is convolved by itself: [N, H, W, C] -> [N, H', W', C]."""
        with tf.variable_scope(name):
            shape = [size, size, x.shape.as_list()[-1], 1]
            x = tf.nn.depthwise_conv2d(x, self._weights(shape, depthwise=True),
                                       [1, stride, stride, 1], self.padding)
            x, params, ops = self._complete(x, bias, norm, activation)
        macs = product(shape) * product(x.shape.as_list()[1:3])
        return self._record('depthwise', name, x, product(shape) + params, macs, ops)

    def separable(self, name, x, filters, size, stride=1, norm=False, activation=None):
        """A convolution channel by channel, then one of 1x1 (https://arxiv.org/abs/1610.02357).

        [N, H, W, C] -> [N, H / stride, W / stride, filters]
        """
        x = self.depthwise(name + '/depthwise', x, size, stride, bias=False, activation='linear')
        return self.conv(name + '/pointwise', x, filters, 1, norm=norm, activation=activation)

    def whiten(self, name, x, size, epsilon, signs=False, bias=False, padding=None):
        """Convolution whose outputs are unrelated and alike in size: see models.whitening.

        [N, H, W, C] -> [N, H', W', size * size * C], or twice as many with `signs`. The weights
        are found in the net's sample of images before training (without one they are random)
        and are not trained; a bias is.
        """
        with tf.variable_scope(name) as scope:
            channels = x.shape.as_list()[-1]
            shape = [size, size, channels, size * size * channels * (2 if signs else 1)]
            if self.training and self.sample:
                first = whitening.filters(self.sample(), size, epsilon, signs)
            else:
                first = initializers.initialize('fan_in_uniform', shape,
                                             random_seeds.seeds(self.seed, scope.name))
            weights = tf.get_variable('weights', initializer=first, trainable=False)
            x = self._convolved(x, weights, 1, padding or self.padding)
            x, params, ops = self._complete(x, bias, False, 'linear')
        macs = product(shape) * product(x.shape.as_list()[1:3])
        return self._record('whiten', name, x, product(shape) + params, macs, ops)

    def fc(self, name, x, units, decay=0., activation=None, bias=True, norm=False,
           initializer=None):
        """Fully connected, bias or batch normalization, activation: [N, ...] -> [N, units]."""
        with tf.variable_scope(name):
            shape = [product(x.shape.as_list()[1:]), units]
            x = tf.reshape(x, [-1, shape[0]]) if x.shape.ndims > 2 else x
            x = tf.matmul(x, self._weights(shape, decay, initializer))
            x, params, ops = self._complete(x, bias, norm, activation)
        return self._record('fc', name, x, product(shape) + params, product(shape), ops)

    def norm(self, name, x):
        """Batch normalization (Ioffe and Szegedy 2015) of [N, H, W, C] or [N, C]."""
        with tf.variable_scope(name):
            x, params = self._norm(x)
        return self._record('norm', name, x, params, ops_per_output=BIAS_OPS)

    def activate(self, name, x, activation=None):
        """The activation alone, the net's unless given one, of a tensor of any shape."""
        with tf.name_scope(name):
            x, ops = activations.apply(activation or self.activation, x)
        return self._record('activation', name, x, ops_per_output=ops)

    def add(self, name, x, y):
        """The sum of two tensors of one shape, such as of a residual and what it is added to."""
        return self._record('add', name, tf.add(x, y, name=name), ops_per_output=1)

    def scale(self, name, x, by):
        """`x` times the number `by`, such as of logits."""
        return self._record('scale', name, tf.multiply(x, by, name=name), ops_per_output=1)

    def shortcut(self, name, x, filters, stride):
        """Every stride-th position, with zeros for the channels that are new.

        [N, H, W, C] -> [N, H / stride, W / stride, filters]; option A of He et al. 2015
        (https://arxiv.org/abs/1512.03385, section 4.2).
        """
        more = filters - x.shape.as_list()[-1]
        with tf.name_scope(name):
            x = x[:, ::stride, ::stride] if stride > 1 else x
            x = tf.pad(x, [[0, 0], [0, 0], [0, 0], [more // 2, more - more // 2]])
        return self._record('shortcut', name, x)

    def max_pool(self, name, x, size=3, stride=2, padding=None):
        """Maxima of size x size windows: [N, H, W, C] -> [N, H / stride, W / stride, C]."""
        x = tf.nn.max_pool(x, [1, size, size, 1], [1, stride, stride, 1],
                           padding or self.padding, name=name)
        return self._record('max_pool', name, x)

    def avg_pool(self, name, x, size=3, stride=2, padding=None):
        """Means of size x size windows, of what of them lies in the map; shapes as max_pool."""
        x = tf.nn.avg_pool(x, [1, size, size, 1], [1, stride, stride, 1],
                           padding or self.padding, name=name)
        return self._record('avg_pool', name, x)

    def global_avg_pool(self, name, x):
        """Means over all positions: [N, H, W, C] -> [N, C]."""
        return self._record('global_avg_pool', name, tf.reduce_mean(x, [1, 2], name=name))

    def lrn(self, name, x):
        """Response normalization over 9 neighbouring channels (Krizhevsky et al. 2012, 3.3)."""
        x = tf.nn.lrn(x, depth_radius=4, bias=1., alpha=0.001 / 9., beta=0.75, name=name)
        return self._record('lrn', name, x, ops_per_output=LRN_OPS)

    def dropout(self, name, x, rate):
        """Zeroes a `rate` of the elements and scales the others up; in inference, x itself.

        The mask follows from the seed, the name and the step alone. Raises ValueError where
        training has no step: its mask would never change.
        """
        if self.training:
            if self.step is None:
                raise ValueError('dropout %r: Net(training=True) needs a step' % name)
            with tf.variable_scope(name) as scope:
                noise = tf.random.stateless_uniform(
                    tf.shape(x), random_seeds.seeds(self.seed, scope.name, self.step), dtype=x.dtype)
                x *= tf.cast(noise >= rate, x.dtype) / (1. - rate)
        return self._record('dropout', name, x)

    def concat(self, name, xs):
        """Joins the channels of maps: [N, H, W, C1], [N, H, W, C2] ... -> [N, H, W, sum]."""
        return self._record('concat', name, tf.concat(xs, 3, name=name))

    def _convolved(self, x, weights, stride, padding):
        """The convolution of `x`; in training at the net's precision, gradients included."""
        kind = tf.as_dtype(self.precision) if self.training else tf.float32
        y = tf.nn.conv2d(tf.cast(x, kind), tf.cast(weights, kind), [1, stride, stride, 1], padding)
        return tf.cast(y, tf.float32)

    def _weights(self, shape, decay=0., initializer=None, depthwise=False):
        """The scope's weights; their first values depend on the seed and their name alone."""
        def initial(shape, dtype=None, partition_info=None):
            del dtype, partition_info  # all are float32, none is split
            return initializers.initialize(initializer or self.initializer, shape,
                                        random_seeds.seeds(self.seed, full_name), depthwise)
        full_name = tf.get_variable_scope().name + '/weights'
        weights = tf.get_variable('weights', shape, initializer=initial)
        if decay:
            self.decayed.append((weights, decay))
        return weights

    def _complete(self, x, bias, norm, activation):
        """Adds bias or batch normalization, and activates: x, parameters, operations an element."""
        params = ops = 0
        if norm:
            with tf.variable_scope('bn'):
                (x, params), ops = self._norm(x), BIAS_OPS
        elif bias:
            params, ops = x.shape.as_list()[-1], BIAS_OPS
            x = tf.nn.bias_add(x, tf.get_variable('biases', [params],
                                                  initializer=tf.zeros_initializer()))
        x, more = activations.apply(activation or self.activation, x)
        return x, params, ops + more

    def _norm(self, x):
        """Batch normalization in the scope at hand, and how many parameters it trains.

        Training uses the statistics of the batch, or of each group of it, and adds to the
        collection UPDATE_OPS what moves the moving ones, which inference uses.
        """
        channels = x.shape.as_list()[-1]
        gamma = self._vector('gamma', channels, 1., True) if self.norm_scale else tf.constant(
            np.ones(channels, np.float32), name='gamma')
        beta = self._vector('beta', channels, 0., True)
        mean = self._vector('moving_mean', channels, 0., False)
        variance = self._vector('moving_variance', channels, 1., False)
        maps = x if x.shape.ndims == 4 else tf.reshape(x, [-1, 1, 1, channels])
        if self.training:
            y, *batch = self._norm_by_batch(maps, gamma, beta)
            for moving, now in zip((mean, variance), batch):
                tf.add_to_collection(tf.GraphKeys.UPDATE_OPS, moving.assign_sub(
                    (1 - self.norm_decay) * (moving - now)))
        else:
            y = tf.nn.fused_batch_norm(maps, gamma, beta, mean, variance, self.norm_epsilon,
                                       is_training=False)[0]
        y = y if y.shape.ndims == x.shape.ndims else tf.reshape(y, [-1, channels])
        return y, channels * (2 if self.norm_scale else 1)

    def _norm_by_batch(self, x, gamma, beta):
        """Maps normalized in groups, and the means over the groups of their means and variances.

        A group is a slice of the batch, which costs no copy, and the fused operation on it is
        several times faster than means and sums of its own. What is left over by whole groups
        is in the last one.
        """
        count = x.shape.as_list()[0]
        if self.norm_group and count is None:
            raise ValueError('%s: groups of %d images need a known batch size' % (
                x.op.name, self.norm_group))
        groups = max(1, count // self.norm_group) if self.norm_group else 1
        if groups == 1:
            return tf.nn.fused_batch_norm(x, gamma, beta, epsilon=self.norm_epsilon)
        sizes = [self.norm_group] * (groups - 1) + [count - self.norm_group * (groups - 1)]
        parts = zip(*(tf.nn.fused_batch_norm(part, gamma, beta, epsilon=self.norm_epsilon)
                      for part in tf.split(x, sizes)))
        y, means, variances = parts
        return tf.concat(y, 0), tf.add_n(means) / groups, tf.add_n(variances) / groups

    def _vector(self, name, size, value, trained):
        return tf.get_variable(name, [size], initializer=tf.constant_initializer(value),
                               trainable=trained)

    def _record(self, kind, name, x, params=0, macs=0, ops_per_output=0):
        """Adds the Layer whose output is `x`, and returns x."""
        shape = tuple(x.shape.as_list()[1:])
        ops = 2 * macs + ops_per_output * product(shape)
        self.layers.append(Layer(name, kind, shape, params, ops, macs))
        return x
