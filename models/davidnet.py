"""davidnet, davidnet_tricks: David Page's nine layers, without and with his bag of tricks.

https://myrtle.ai/learn/how-to-train-your-resnet/. At 32x32, in millions:

                   parameters   ops
  davidnet             6.57    759.70
  davidnet_tricks      6.57    761.08
"""

from typing import Callable

from models import Net, Tensor


def davidnet(net: Net, x: Tensor) -> Tensor:
    net.initializer = 'pytorch_default'
    net.norm_epsilon = 1e-5
    x = conv_norm_pool(net, 'prep', x, 64)
    return body(conv_norm_pool, net, x, 0.125)


def davidnet_tricks(net: Net, x: Tensor) -> Tensor:
    net.initializer = 'pytorch_default'
    net.activation = 'celu:0.3'
    net.norm_epsilon = 1e-5
    net.norm_scale = False
    net.ghost_batch_size = 32
    x = net.whiten('whiten', x, 3, epsilon=1e-2)
    x = net.conv('prep', x, 64, 1, norm=True)
    return body(conv_pool_norm, net, x, 1 / 16)


def body(layer: Callable[..., Tensor], net: Net, x: Tensor, scale: float) -> Tensor:
    x = layer(net, 'conv1', x, 128, pool=True)
    x = residual(layer, net, 'residual1', x, 128)
    x = layer(net, 'conv2', x, 256, pool=True)
    x = layer(net, 'conv3', x, 512, pool=True)
    x = residual(layer, net, 'residual3', x, 512)
    x = net.max_pool('pool', x, 4, 4)
    x = net.fc('fc', x, net.num_classes, bias=False, activation='linear')
    return net.multiply('logits', x, scale)


def residual(layer: Callable[..., Tensor], net: Net, name: str, x: Tensor, filters: int) -> Tensor:
    y = layer(net, name + '/conv1', x, filters)
    y = layer(net, name + '/conv2', y, filters)
    return net.add(name + '/add', x, y)


def conv_norm_pool(net: Net, name: str, x: Tensor, filters: int, pool: bool = False) -> Tensor:
    x = net.conv(name, x, filters, 3, norm=True)
    return net.max_pool(name + '/pool', x, 2) if pool else x


def conv_pool_norm(net: Net, name: str, x: Tensor, filters: int, pool: bool = False) -> Tensor:
    """Pool before normalization and activation, which leaves them a quarter of the work."""
    x = net.conv(name, x, filters, 3, bias=False, activation='linear')
    x = net.max_pool(name + '/pool', x, 2) if pool else x
    x = net.norm(name + '/bn', x)
    return net.activate(name + '/celu', x)


MODELS = {'davidnet': davidnet, 'davidnet_tricks': davidnet_tricks}
