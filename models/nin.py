"""nin0 to nin2: Network in Network (Lin et al. 2013, https://arxiv.org/abs/1312.4400).

At 24x24, in millions:   parameters   ops
  nin0                      0.12     46.21
  nin1                      0.18     69.33
  nin2  the paper's         0.97    251.36
"""

import functools


def mlpconv(net, name, x, size, *filters):
    """A size x size convolution, then a small perceptron at each position."""
    x = net.conv(name + '/conv', x, filters[0], size)
    x = net.conv(name + '/mlp1', x, filters[1], 1)
    return net.conv(name + '/mlp2', x, filters[2], 1)


def nin(net, x, stages, head, dropout=0.):
    for i, stage in enumerate(stages, 1):
        x = mlpconv(net, 'nin%d' % i, x, *stage)
        x = net.max_pool('pool%d' % i, x)
        x = net.dropout('dropout%d' % i, x, dropout) if dropout else x
    # As in the paper, what is averaged into logits has gone through a ReLU too.
    x = mlpconv(net, 'nin%d' % (len(stages) + 1), x, *head, net.num_classes)
    return net.global_avg_pool('logits', x)


MODELS = {name: functools.partial(nin, **row) for name, row in {
    'nin0': dict(stages=[(5, 64, 64, 64)], head=(5, 64, 64)),
    'nin1': dict(stages=[(5, 64, 96, 96)], head=(5, 64, 64)),
    'nin2': dict(stages=[(5, 192, 160, 96), (5, 192, 192, 192)], head=(3, 192, 192), dropout=0.5),
}.items()}
