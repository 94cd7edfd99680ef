"""convone: tuto with its second convolution squeezed between 1x1 ones.

1.00 M parameters, 16.83 M ops at 24x24. (The published one left its second pool unused.)
"""


def convone(net, x):
    x = net.conv('conv1', x, 64, 5)
    x = net.max_pool('pool1', x)
    x = net.lrn('norm1', x)
    x = net.conv('conv2', x, 32, 1)
    x = net.conv('conv3', x, 32, 5)
    x = net.conv('conv4', x, 64, 1)
    x = net.lrn('norm2', x)
    x = net.max_pool('pool2', x, size=2)
    x = net.fc('fc1', x, 384, decay=1.)
    x = net.fc('fc2', x, 192, decay=1.)
    return net.fc('logits', x, net.num_classes, activation='linear')


MODELS = {'convone': convone}
