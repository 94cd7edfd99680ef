"""sprint: whitened patches and six convolutions; 94 % in a short training (Keller Jordan 2024).

https://arxiv.org/abs/2404.00498, as in airbench94_muon.py of
https://github.com/KellerJordan/cifar10-airbench, but with the sigmoid approximation of GELU and an
epsilon of 1e-5 in the normalization. 1.97 M parameters, 211.13 M ops at 32x32.
"""

from models import Net, Tensor


def group(net: Net, name: str, x: Tensor, filters: int) -> Tensor:
    x = net.conv(name + '/conv1', x, filters, 3, bias=False, activation='linear', multiple_of=2)
    x = net.max_pool(name + '/pool', x, 2, padding='VALID')
    x = net.activate(name + '/act1', net.norm(name + '/norm1', x))
    x = net.conv(name + '/conv2', x, filters, 3, bias=False, activation='linear')
    return net.activate(name + '/act2', net.norm(name + '/norm2', x))


def sprint(net: Net, x: Tensor) -> Tensor:
    net.initializer = 'dirac'
    net.activation = 'sigmoid_gelu'
    net.norm_decay = 0.6
    net.norm_epsilon = 1e-5
    net.norm_scale = False
    x = net.whiten('whiten', x, 2, epsilon=5e-4, with_negatives=True, bias=True, padding='VALID')
    x = net.activate('act', x)
    x = group(net, 'group1', x, 64)
    x = group(net, 'group2', x, 256)
    x = group(net, 'group3', x, 256)
    x = net.max_pool('pool', x, 3, 3, padding='VALID')
    x = net.fc('fc', x, net.num_classes, bias=False, activation='linear', initializer='uniform:1')
    return net.multiply('logits', x, 1 / 256)


MODELS = {'sprint': sprint}
