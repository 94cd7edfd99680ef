"""nin0 to nin2, nin_bn: Network in Network (Lin et al. 2013, https://arxiv.org/abs/1312.4400).

In millions:                             parameters   ops
  nin0                         at 24x24     0.12     46.21
  nin1                         at 24x24     0.18     69.33
  nin2    the paper's          at 24x24     0.97    251.36
  nin_bn  nin2 with batch norm at 32x32     0.97    446.87
"""

from functools import partial
from typing import Any, Sequence

from models import Net, Tensor

PAPER = [(5, 192, 160, 96), (5, 192, 192, 192)]

def mlpconv(net: Net, name: str, x: Tensor, size: int, *filters: int, **options: Any) -> Tensor:
    """Build a size x size convolution, then a small perceptron at each position."""
    x = net.conv(name + '/conv', x, filters[0], size, **options)
    x = net.conv(name + '/mlp1', x, filters[1], 1, **options)
    return net.conv(name + '/mlp2', x, filters[2], 1, **options)


def nin(net: Net, x: Tensor, stages: Sequence[Sequence[int]], head: Sequence[int],
        dropout: float = 0.) -> Tensor:
    """Build stages of (size, 3 numbers of filters); the head's third is the number of classes."""
    for i, stage in enumerate(stages, 1):
        x = mlpconv(net, f'nin{i}', x, *stage)
        x = net.max_pool(f'pool{i}', x)
        x = net.dropout(f'dropout{i}', x, dropout) if dropout else x
    # As in the paper, the maps that are averaged into logits have gone through a ReLU too.
    x = mlpconv(net, f'nin{len(stages) + 1}', x, *head, net.num_classes)
    return net.global_avg_pool('logits', x)


def nin_bn(net: Net, x: Tensor) -> Tensor:
    net.initializer = 'normal:0.05'
    for i, (stage, pool) in enumerate(zip(PAPER, (net.max_pool, net.avg_pool)), 1):
        x = mlpconv(net, f'nin{i}', x, *stage, norm=True)
        x = pool(f'pool{i}', x)
        x = net.dropout(f'dropout{i}', x, 0.5)
    x = mlpconv(net, 'nin3', x, 3, 192, 192, net.num_classes, norm=True)
    return net.global_avg_pool('logits', x)


MODELS = {
    'nin0': partial(nin, stages=[(5, 64, 64, 64)], head=(5, 64, 64)),
    'nin1': partial(nin, stages=[(5, 64, 96, 96)], head=(5, 64, 64)),
    'nin2': partial(nin, stages=PAPER, head=(3, 192, 192), dropout=0.5),
    'nin_bn': nin_bn,
}
