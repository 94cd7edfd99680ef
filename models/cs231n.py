"""cs231n: the course's first convnet (https://cs231n.github.io/), one convolution.

8.20 M parameters, 20.72 M ops at 32x32.
"""

from models import Net, Tensor


def cs231n(net: Net, x: Tensor) -> Tensor:
    # The published weight decay of this model is a fifth of the family's: 100 for 500.
    x = net.conv('conv1', x, 64, 3, decay_multiplier=0.2)
    x = net.max_pool('pool1', x, size=2)
    x = net.lrn('norm1', x)
    x = net.fc('fc1', x, 500, decay_multiplier=0.2)
    return net.fc('logits', x, net.num_classes, activation='linear')


MODELS = {'cs231n': cs231n}
