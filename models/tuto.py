"""tuto: the network of TensorFlow's CIFAR-10 tutorial, and two networks after it.

After cuda-convnet (https://code.google.com/p/cuda-convnet/), with fully connected layers. In
millions:                                                   parameters   ops
  tuto                                             at 24x24     1.07    37.75
  convone   half the channels in conv2,            at 24x24     1.00    16.83
            between two 1x1 convolutions
  cifarnet  smaller pools, dropout                 at 32x32     1.76    66.98
"""

from functools import partial
from typing import List, Tuple

from models import Net, Tensor


def conv_fc(net: Net, x: Tensor, convs: List[Tuple[int, int]], units: List[int],
            lrn: bool = True) -> Tensor:
    """Build `convs` of (size, filters) each, then hidden layers with `units`."""
    for i, (size, filters) in enumerate(convs, 1):
        x = net.conv(f'conv{i}', x, filters, size)
        x = net.max_pool('pool1', x) if i == 1 else x  # the first stage pools before it normalizes
        x = net.lrn(f'norm{i}', x) if lrn else x
        x = net.max_pool(f'pool{i}', x) if i > 1 else x
    for i, count in enumerate(units, 1):
        x = net.fc(f'fc{i}', x, count, decay_multiplier=1.)
    return net.fc('logits', x, net.num_classes, activation='linear')


def convone(net: Net, x: Tensor) -> Tensor:
    x = net.conv('conv1', x, 64, 5)
    x = net.max_pool('pool1', x)
    x = net.lrn('norm1', x)
    x = net.conv('conv2', x, 32, 1)
    x = net.conv('conv3', x, 32, 5)
    x = net.conv('conv4', x, 64, 1)
    x = net.lrn('norm2', x)
    x = net.max_pool('pool2', x, size=2)  # the published network did not use it
    x = net.fc('fc1', x, 384, decay_multiplier=1.)
    x = net.fc('fc2', x, 192, decay_multiplier=1.)
    return net.fc('logits', x, net.num_classes, activation='linear')


def cifarnet(net: Net, x: Tensor) -> Tensor:
    x = net.conv('conv1', x, 64, 5)
    x = net.max_pool('pool1', x, size=2)
    x = net.lrn('norm1', x)
    x = net.conv('conv2', x, 64, 5)
    x = net.lrn('norm2', x)
    x = net.max_pool('pool2', x, size=2)
    x = net.fc('fc1', x, 384, decay_multiplier=1.)
    x = net.dropout('dropout1', x, 0.5)
    x = net.fc('fc2', x, 192, decay_multiplier=1.)
    return net.fc('logits', x, net.num_classes, activation='linear')


MODELS = {
    'tuto': partial(conv_fc, convs=[(5, 64), (5, 64)], units=[384, 192]),
    'convone': convone,
    'cifarnet': cifarnet,
}
