"""squeeze0, squeeze1: after SqueezeNet (Iandola et al. 2016, https://arxiv.org/abs/1602.07360).

At 24x24, in millions:      parameters   ops
  squeeze0                     0.12     16.04
  squeeze1  twice the squeeze  0.15     22.84
            in the first stage
"""

import functools


def fire(net, name, x, squeeze, expand1, expand3):
    """1x1 filters to few channels, then 1x1 and 3x3 filters side by side."""
    x = net.conv(name + '/squeeze', x, squeeze, 1)
    return net.concat(name + '/expand', [net.conv(name + '/expand1', x, expand1, 1),
                                         net.conv(name + '/expand3', x, expand3, 3)])


def squeeze(net, x, stage1, stage2):
    x = net.conv('conv1', x, 64, 3)
    x = net.max_pool('pool1', x)
    x = fire(net, 'fire1', x, *stage1)
    x = fire(net, 'fire2', x, *stage1)
    x = net.max_pool('pool2', x)
    x = fire(net, 'fire3', x, *stage2)
    x = fire(net, 'fire4', x, *stage2)
    # As in the paper, what is averaged into logits has gone through a ReLU too.
    x = net.conv('conv2', x, net.num_classes, 1)
    return net.global_avg_pool('logits', x)


MODELS = {name: functools.partial(squeeze, **row) for name, row in {
    'squeeze0': dict(stage1=(16, 64, 64), stage2=(32, 128, 128)),
    'squeeze1': dict(stage1=(32, 64, 64), stage2=(32, 128, 128)),
}.items()}
