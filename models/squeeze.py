"""squeeze0, squeeze1: after SqueezeNet (Iandola et al. 2016, https://arxiv.org/abs/1602.07360).

At 24x24, in millions:                              parameters   ops
  squeeze0                                             0.12     16.04
  squeeze1  twice the squeeze in the first stage       0.15     22.84
"""

from functools import partial
from typing import Tuple

from models import Net, Tensor

Filters = Tuple[int, int, int]


def fire(net: Net, name: str, x: Tensor, squeeze: int, expand1: int, expand3: int) -> Tensor:
    """Build 1x1 filters to few channels, then 1x1 and 3x3 filters in parallel."""
    x = net.conv(name + '/squeeze', x, squeeze, 1)
    return net.concat(name + '/expand', [net.conv(name + '/expand1', x, expand1, 1),
                                         net.conv(name + '/expand3', x, expand3, 3)])


def squeeze(net: Net, x: Tensor, stage1: Filters, stage2: Filters) -> Tensor:
    """Build two stages of two fire modules, each of (squeeze, expand1, expand3) filters."""
    x = net.conv('conv1', x, 64, 3)
    x = net.max_pool('pool1', x)
    x = fire(net, 'fire1', x, *stage1)
    x = fire(net, 'fire2', x, *stage1)
    x = net.max_pool('pool2', x)
    x = fire(net, 'fire3', x, *stage2)
    x = fire(net, 'fire4', x, *stage2)
    # As in the paper, the maps that are averaged into logits have gone through a ReLU too.
    x = net.conv('conv2', x, net.num_classes, 1)
    return net.global_avg_pool('logits', x)


MODELS = {
    'squeeze0': partial(squeeze, stage1=(16, 64, 64), stage2=(32, 128, 128)),
    'squeeze1': partial(squeeze, stage1=(32, 64, 64), stage2=(32, 128, 128)),
}
