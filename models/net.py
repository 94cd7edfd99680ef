"""Net: the layer vocabulary of the models; counts parameters and operations as it builds."""

import collections
import math

import tensorflow.compat.v1 as tf

from models import streams

# One layer as built, for one image. `ops` are 2 per multiply-accumulate, 1 per bias added, 2 per
# ReLU and 36 per element of an LRN; pooling, averaging, dropout and concatenation are free. Batch
# normalization counts as the bias into which freezing folds it; its parameters are gamma and beta.
# `macs` are the multiply-accumulates of convolutions and fully connected layers alone.
Layer = collections.namedtuple('Layer', 'name kind output_shape params ops macs')

BIAS_OPS, RELU_OPS, LRN_OPS = 1, 2, 36  # per output element
TRUNCATED_STD = 0.87962566103423978  # of a unit normal without what lies beyond 2


def glorot_normal(shape, dtype, seeds):
    """A truncated normal of variance 2 / (fan in + fan out) (Glorot and Bengio 2010)."""
    std = math.sqrt(2. / (product(shape[:-2]) * (shape[-2] + shape[-1])))
    return tf.random.stateless_truncated_normal(
        shape, seeds, stddev=std / TRUNCATED_STD, dtype=dtype)


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

    Attributes:
      layers: a Layer for each one built, in order.
      decayed: pairs of a variable and the multiplier of the recipe's weight decay.
      norm_decay, norm_epsilon: of the moving statistics of batch normalization, and what it
        adds to variances (1.001e-5 at least: cuDNN's limit, which TensorFlow keeps everywhere).
    """

    def __init__(self, training, num_classes=10, seed=0, step=None):
        """`step`, a scalar tensor, moves the dropout of a `training` graph on."""
        self.training = training
        self.num_classes = num_classes
        self.seed = seed
        self.step = step
        self.padding = 'SAME'
        self.norm_decay = 0.9
        self.norm_epsilon = 1e-3
        self.layers = []
        self.decayed = []

    def conv(self, name, x, filters, size, decay=0., norm=False):
        """Convolution, bias or batch normalization, ReLU: [N, H, W, C] -> [N, H, W, filters]."""
        with tf.variable_scope(name):
            shape = [size, size, x.shape.as_list()[-1], filters]
            x = tf.nn.conv2d(x, self._weights(shape, decay), [1, 1, 1, 1], self.padding)
            x = self._norm(x) if norm else tf.nn.bias_add(x, self._biases(filters))
            x = tf.nn.relu(x)
        positions = product(x.shape.as_list()[1:3])
        return self._record('conv', name, x, product(shape) + (2 if norm else 1) * filters,
                            product(shape) * positions, BIAS_OPS + RELU_OPS)

    def fc(self, name, x, units, decay=0., relu=True):
        """Fully connected, bias and, where asked, ReLU: [N, ...] -> [N, units]."""
        with tf.variable_scope(name):
            shape = [product(x.shape.as_list()[1:]), units]
            x = tf.reshape(x, [-1, shape[0]]) if x.shape.ndims > 2 else x
            x = tf.matmul(x, self._weights(shape, decay))
            x = tf.nn.bias_add(x, self._biases(units))
            x = tf.nn.relu(x) if relu else x
        return self._record('fc', name, x, product(shape) + units, product(shape),
                            BIAS_OPS + (RELU_OPS if relu else 0))

    def max_pool(self, name, x, size=3, stride=2):
        """Maxima of size x size windows: [N, H, W, C] -> [N, H / stride, W / stride, C]."""
        x = tf.nn.max_pool(x, [1, size, size, 1], [1, stride, stride, 1], self.padding, name=name)
        return self._record('max_pool', name, x)

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
                    tf.shape(x), streams.seeds(self.seed, scope.name, self.step), dtype=x.dtype)
                x *= tf.cast(noise >= rate, x.dtype) / (1. - rate)
        return self._record('dropout', name, x)

    def concat(self, name, xs):
        """Joins the channels of maps: [N, H, W, C1], [N, H, W, C2] ... -> [N, H, W, sum]."""
        return self._record('concat', name, tf.concat(xs, 3, name=name))

    def _weights(self, shape, decay):
        """The scope's weights; their first values depend on the seed and their name alone."""
        def initial(shape, dtype=None, partition_info=None):
            del partition_info  # no variable is split
            return glorot_normal(shape, dtype, streams.seeds(self.seed, full_name))
        full_name = tf.get_variable_scope().name + '/weights'
        weights = tf.get_variable('weights', shape, initializer=initial)
        if decay:
            self.decayed.append((weights, decay))
        return weights

    def _biases(self, units):
        return tf.get_variable('biases', [units], initializer=tf.zeros_initializer())

    def _norm(self, x):
        """Batch normalization (Ioffe and Szegedy 2015) in the scope `bn`.

        Training uses the batch's statistics, and adds to the collection UPDATE_OPS what moves
        the moving ones, which inference uses.
        """
        with tf.variable_scope('bn'):
            gamma, beta, mean, variance = (
                tf.get_variable(name, x.shape[-1:], initializer=initializer, trainable=trained)
                for name, initializer, trained in (
                    ('gamma', tf.ones_initializer(), True),
                    ('beta', tf.zeros_initializer(), True),
                    ('moving_mean', tf.zeros_initializer(), False),
                    ('moving_variance', tf.ones_initializer(), False)))
            if not self.training:
                return tf.nn.fused_batch_norm(x, gamma, beta, mean, variance, self.norm_epsilon,
                                              is_training=False)[0]
            x, *batch = tf.nn.fused_batch_norm(x, gamma, beta, epsilon=self.norm_epsilon)
            for moving, now in zip((mean, variance), batch):
                tf.add_to_collection(tf.GraphKeys.UPDATE_OPS, moving.assign_sub(
                    (1 - self.norm_decay) * (moving - now)))
            return x

    def _record(self, kind, name, x, params=0, macs=0, ops_per_output=0):
        """Adds the Layer whose output is `x`, and returns x."""
        shape = tuple(x.shape.as_list()[1:])
        ops = 2 * macs + ops_per_output * product(shape)
        self.layers.append(Layer(name, kind, shape, params, ops, macs))
        return x
