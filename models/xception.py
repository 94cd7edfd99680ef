"""xception_mini: depthwise separable convolutions, with as many parameters as squeeze1.

After Chollet 2016 (https://arxiv.org/abs/1610.02357): strided entry, residual middle, exit.
0.15 M parameters, 31.78 M ops at 32x32.
"""

from models import Net, Tensor


def block(net: Net, name: str, x: Tensor, filters: int, stride: int = 1) -> Tensor:
    """Build two separable convolutions; if strided, the shortcut is a 1x1 convolution."""
    y = net.separable(name + '/sep1', x, filters, 3, norm=True)
    y = net.separable(name + '/sep2', y, filters, 3, stride=stride, norm=True, activation='linear')
    if stride > 1:
        x = net.conv(name + '/shortcut', x, filters, 1, norm=True, stride=stride,
                     activation='linear')
    return net.activate(name + '/relu', net.add(name + '/add', x, y))


def xception_mini(net: Net, x: Tensor) -> Tensor:
    net.initializer = 'he_normal'
    x = net.conv('conv1', x, 32, 3, norm=True)
    x = block(net, 'entry1', x, 64, stride=2)
    x = block(net, 'entry2', x, 128, stride=2)
    x = block(net, 'middle1', x, 128)
    x = block(net, 'middle2', x, 128)
    x = net.separable('exit', x, 256, 3, norm=True)
    x = net.global_avg_pool('pool', x)
    return net.fc('logits', x, net.num_classes, activation='linear')


MODELS = {'xception_mini': xception_mini}
