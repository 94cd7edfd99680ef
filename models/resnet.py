"""resnet20 to resnet110: for CIFAR-10, with option A (He et al. 2015, section 4.2).

https://arxiv.org/abs/1512.03385. At 32x32, in millions:

             blocks a stage   parameters     ops
  resnet20         3             0.27       81.75
  resnet32         5             0.46      138.78
  resnet44         7             0.66      195.80
  resnet56         9             0.85      252.83
  resnet110       18             1.73      509.44
"""

import functools


def block(net, name, x, filters, stride):
    y = net.conv(name + '/conv1', x, filters, 3, norm=True, stride=stride)
    y = net.conv(name + '/conv2', y, filters, 3, norm=True, activation='linear')
    if stride > 1:
        x = net.shortcut(name + '/shortcut', x, filters, stride)
    return net.activate(name + '/relu', net.add(name + '/add', x, y))


def resnet(net, x, blocks):
    net.initializer = 'he_normal'
    x = net.conv('conv1', x, 16, 3, norm=True)
    for stage, filters in enumerate((16, 32, 64), 1):
        for i in range(1, blocks + 1):
            x = block(net, 'stage%d/block%d' % (stage, i), x, filters,
                      stride=2 if i == 1 and stage > 1 else 1)
    x = net.global_avg_pool('pool', x)
    return net.fc('logits', x, net.num_classes, activation='linear')


MODELS = {name: functools.partial(resnet, blocks=blocks) for name, blocks in {
    'resnet20': 3, 'resnet32': 5, 'resnet44': 7, 'resnet56': 9, 'resnet110': 18}.items()}
