"""tuto: the network of TensorFlow's CIFAR-10 tutorial. 1.07 M parameters, 37.75 M ops at 24x24.

After cuda-convnet (https://code.google.com/p/cuda-convnet/), with fully connected layers.
"""


def tuto(net, x):
    x = net.conv('conv1', x, 64, 5)
    x = net.max_pool('pool1', x)
    x = net.lrn('norm1', x)
    x = net.conv('conv2', x, 64, 5)
    x = net.lrn('norm2', x)
    x = net.max_pool('pool2', x)
    x = net.fc('fc1', x, 384, decay=1.)
    x = net.fc('fc2', x, 192, decay=1.)
    return net.fc('logits', x, net.num_classes, activation='linear')


MODELS = {'tuto': tuto}
