"""resnet20 to resnet110: for CIFAR-10, with option A shortcuts (He et al. 2015, section 4.2).

https://arxiv.org/abs/1512.03385. At 32x32, in millions:

             blocks a stage   parameters     ops
  resnet20         3             0.27       81.75
  resnet32         5             0.46      138.78
  resnet44         7             0.66      195.80
  resnet56         9             0.85      252.83
  resnet110       18             1.73      509.44
"""

from functools import partial

from models import Net, Tensor


def block(net: Net, name: str, x: Tensor, filters: int, stride: int) -> Tensor:
    y = net.conv(name + '/conv1', x, filters, 3, norm=True, stride=stride)
    y = net.conv(name + '/conv2', y, filters, 3, norm=True, activation='linear')
    if stride > 1:
        x = net.shortcut(name + '/shortcut', x, filters, stride)
    return net.activate(name + '/relu', net.add(name + '/add', x, y))


def resnet(net: Net, x: Tensor, blocks: int) -> Tensor:
    """Build three stages of `blocks` residual blocks each."""
    net.initializer = 'he_normal'
    x = net.conv('conv1', x, 16, 3, norm=True)
    for stage, filters in enumerate((16, 32, 64), 1):
        for i in range(1, blocks + 1):
            stride = 2 if stage > 1 and i == 1 else 1
            x = block(net, f'stage{stage}/block{i}', x, filters, stride)
    x = net.global_avg_pool('pool', x)
    return net.fc('logits', x, net.num_classes, activation='linear')


MODELS = {
    'resnet20': partial(resnet, blocks=3),
    'resnet32': partial(resnet, blocks=5),
    'resnet44': partial(resnet, blocks=7),
    'resnet56': partial(resnet, blocks=9),
    'resnet110': partial(resnet, blocks=18),
}
