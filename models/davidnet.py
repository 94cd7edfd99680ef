"""davidnet, davidnet_tricks: David Page's nine layers, without and with his bag of tricks.

https://myrtle.ai/learn/how-to-train-your-resnet/. At 32x32, in millions:

                   parameters   ops
  davidnet             6.57    759.70
  davidnet_tricks      6.57    761.08

VARIANTS: davidnet with other branches, as Page searched (a residual block or one more layer after
any of the three layers), and davidnet_tricks without one of its tricks.
"""

from functools import partial
from typing import Callable

from models import Net, Tensor


def davidnet(net: Net, x: Tensor, residuals: str = '13', extras: str = '') -> Tensor:
    net.initializer = 'pytorch_default'
    net.norm_epsilon = 1e-5
    x = conv_norm_pool(net, 'prep', x, 64)
    return body(conv_norm_pool, net, x, 0.125, residuals, extras)


def davidnet_tricks(net: Net, x: Tensor, whitened: bool = True, activation: str = 'celu:0.3',
                    norm_scale: bool = False, ghost_batch_size: int = 32, pool_first: bool = True,
                    scale: float = 1 / 16) -> Tensor:
    net.initializer = 'pytorch_default'
    net.activation = activation
    net.norm_epsilon = 1e-5
    net.norm_scale = norm_scale
    net.ghost_batch_size = ghost_batch_size
    x = net.whiten('whiten', x, 3, epsilon=1e-2) if whitened else x
    x = net.conv('prep', x, 64, 1 if whitened else 3, norm=True)
    return body(conv_pool_norm if pool_first else conv_norm_pool, net, x, scale)


def body(layer: Callable[..., Tensor], net: Net, x: Tensor, scale: float, residuals: str = '13',
         extras: str = '') -> Tensor:
    """Build three layers; `residuals` and `extras` are the numbers of those with a branch."""
    for number, filters in (('1', 128), ('2', 256), ('3', 512)):
        x = layer(net, 'conv' + number, x, filters, pool=True)
        x = residual(layer, net, 'residual' + number, x, filters) if number in residuals else x
        x = layer(net, 'extra' + number, x, filters) if number in extras else x
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
VARIANTS = {
    'davidnet_plain': partial(davidnet, residuals=''),
    'davidnet_residual1': partial(davidnet, residuals='1'),
    'davidnet_residual2': partial(davidnet, residuals='2'),
    'davidnet_residual3': partial(davidnet, residuals='3'),
    'davidnet_residual12': partial(davidnet, residuals='12'),
    'davidnet_residual23': partial(davidnet, residuals='23'),
    'davidnet_residual123': partial(davidnet, residuals='123'),
    'davidnet_extra1': partial(davidnet, residuals='', extras='1'),
    'davidnet_extra2': partial(davidnet, residuals='', extras='2'),
    'davidnet_extra3': partial(davidnet, residuals='', extras='3'),
    'davidnet_extra12': partial(davidnet, residuals='', extras='12'),
    'davidnet_extra13': partial(davidnet, residuals='', extras='13'),
    'davidnet_extra23': partial(davidnet, residuals='', extras='23'),
    'davidnet_extra123': partial(davidnet, residuals='', extras='123'),
    'davidnet_tricks_unwhitened': partial(davidnet_tricks, whitened=False),
    'davidnet_tricks_relu': partial(davidnet_tricks, activation='relu'),
    'davidnet_tricks_normscale': partial(davidnet_tricks, norm_scale=True),
    'davidnet_tricks_wholebatch': partial(davidnet_tricks, ghost_batch_size=0),
    'davidnet_tricks_latepool': partial(davidnet_tricks, pool_first=False),
    'davidnet_tricks_scale8': partial(davidnet_tricks, scale=1 / 8),
}
