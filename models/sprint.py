"""sprint: whitened patches and six convolutions, for 94 % in little time (Keller Jordan 2024).

https://arxiv.org/abs/2404.00498; GELU is its approximation by a sigmoid. 1.97 M parameters,
236.70 M ops at 32x32.
"""


def group(net, name, x, filters):
    x = net.conv(name + '/conv1', x, filters, 3, bias=False, activation='linear')
    x = net.max_pool(name + '/pool', x, 2, padding='VALID')
    x = net.activate(name + '/act1', net.norm(name + '/norm1', x))
    x = net.conv(name + '/conv2', x, filters, 3, bias=False, activation='linear')
    return net.activate(name + '/act2', net.norm(name + '/norm2', x))


def sprint(net, x):
    net.initializer = 'dirac'
    net.activation = 'sigmoid_gelu'
    net.norm_decay = 0.6
    net.norm_epsilon = 1e-5
    net.norm_scale = False
    x = net.whiten('whiten', x, 2, epsilon=5e-4, signs=True, bias=True, padding='VALID')
    x = net.activate('act', x)
    x = group(net, 'group1', x, 64)
    x = group(net, 'group2', x, 256)
    x = group(net, 'group3', x, 256)
    x = net.max_pool('pool', x, 3, 3, padding='VALID')
    x = net.fc('fc', x, net.num_classes, bias=False, activation='linear', initializer='uniform:1')
    return net.scale('logits', x, 1 / 256)


MODELS = {'sprint': sprint}
