"""nin0 to nin2: Network in Network (Lin et al. 2013, https://arxiv.org/abs/1312.4400).

At 24x24, in millions:   parameters   ops
  nin0                      0.12     46.21
  nin1                      0.18     69.33
  nin2  the paper's         0.97    251.36
  nin_bn  nin2 with batch   0.97    446.87
          norm (at 32x32)
"""

import functools


def mlpconv(net, name, x, size, *filters, **options):
    """A size x size convolution, then a small perceptron at each position."""
    x = net.conv(name + '/conv', x, filters[0], size, **options)
    x = net.conv(name + '/mlp1', x, filters[1], 1, **options)
    return net.conv(name + '/mlp2', x, filters[2], 1, **options)


def nin(net, x, stages, head, dropout=0.):
    for i, stage in enumerate(stages, 1):
        x = mlpconv(net, 'nin%d' % i, x, *stage)
        x = net.max_pool('pool%d' % i, x)
        x = net.dropout('dropout%d' % i, x, dropout) if dropout else x
    # As in the paper, what is averaged into logits has gone through a ReLU too.
    x = mlpconv(net, 'nin%d' % (len(stages) + 1), x, *head, net.num_classes)
    return net.global_avg_pool('logits', x)


def nin_bn(net, x):
    net.initializer = 'normal:0.05'
    x = mlpconv(net, 'nin1', x, 5, 192, 160, 96, norm=True)
    x = net.max_pool('pool1', x)
    x = net.dropout('dropout1', x, 0.5)
    x = mlpconv(net, 'nin2', x, 5, 192, 192, 192, norm=True)
    x = net.avg_pool('pool2', x)
    x = net.dropout('dropout2', x, 0.5)
    x = mlpconv(net, 'nin3', x, 3, 192, 192, net.num_classes, norm=True)
    return net.global_avg_pool('logits', x)


MODELS = {name: functools.partial(nin, **row) for name, row in {
    'nin0': dict(stages=[(5, 64, 64, 64)], head=(5, 64, 64)),
    'nin1': dict(stages=[(5, 64, 96, 96)], head=(5, 64, 64)),
    'nin2': dict(stages=[(5, 192, 160, 96), (5, 192, 192, 192)], head=(3, 192, 192), dropout=0.5),
}.items()}
MODELS['nin_bn'] = nin_bn
