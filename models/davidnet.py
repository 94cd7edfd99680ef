"""davidnet: David Page's nine layers, fast on CIFAR-10, and the same with his bag of tricks.

https://myrtle.ai/learn/how-to-train-your-resnet/. At 32x32, in millions:

                   parameters   ops
  davidnet             6.57    759.70
  davidnet_tricks      6.57    761.08
"""


def residual(layer, net, name, x, filters):
    y = layer(net, name + '/conv1', x, filters)
    y = layer(net, name + '/conv2', y, filters)
    return net.add(name + '/add', x, y)


def plain(net, name, x, filters, pool=False):
    x = net.conv(name, x, filters, 3, norm=True)
    return net.max_pool(name + '/pool', x, 2) if pool else x


def davidnet(net, x):
    net.initializer = 'fan_in_uniform'
    net.norm_epsilon = 1e-5
    x = plain(net, 'prep', x, 64)
    return body(plain, net, x, 0.125)


def pooled_first(net, name, x, filters, pool=False):
    """A pool before the normalization is a fourth of the work for both."""
    x = net.conv(name, x, filters, 3, bias=False, activation='linear')
    x = net.max_pool(name + '/pool', x, 2) if pool else x
    x = net.norm(name + '/bn', x)
    return net.activate(name + '/celu', x)


def davidnet_tricks(net, x):
    net.initializer = 'fan_in_uniform'
    net.activation = 'celu:0.3'
    net.norm_epsilon = 1e-5
    net.norm_scale = False
    net.norm_group = 32
    x = net.whiten('whiten', x, 3, epsilon=1e-2)
    x = net.conv('prep', x, 64, 1, norm=True)
    return body(pooled_first, net, x, 1 / 16)


def body(layer, net, x, scale):
    x = layer(net, 'conv1', x, 128, pool=True)
    x = residual(layer, net, 'residual1', x, 128)
    x = layer(net, 'conv2', x, 256, pool=True)
    x = layer(net, 'conv3', x, 512, pool=True)
    x = residual(layer, net, 'residual3', x, 512)
    x = net.max_pool('pool', x, 4, 4)
    x = net.fc('fc', x, net.num_classes, bias=False, activation='linear')
    return net.scale('logits', x, scale)


MODELS = {'davidnet': davidnet, 'davidnet_tricks': davidnet_tricks}
