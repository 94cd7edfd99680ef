"""lenet5: LeCun et al. 1998, with ReLU and max pooling. 0.06 M parameters, 1.32 M ops at 32x32."""

from models import Net, Tensor


def lenet5(net: Net, x: Tensor) -> Tensor:
    net.padding = 'VALID'
    x = net.conv('conv1', x, 6, 5)
    x = net.max_pool('pool1', x, 2)
    x = net.conv('conv2', x, 16, 5)
    x = net.max_pool('pool2', x, 2)
    x = net.fc('fc1', x, 120)
    x = net.fc('fc2', x, 84)
    return net.fc('logits', x, net.num_classes, activation='linear')


MODELS = {'lenet5': lenet5}
