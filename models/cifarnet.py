"""cifarnet: tuto with smaller pools and dropout. 1.76 M parameters, 66.98 M ops at 32x32."""


def cifarnet(net, x):
    x = net.conv('conv1', x, 64, 5)
    x = net.max_pool('pool1', x, 2)
    x = net.lrn('norm1', x)
    x = net.conv('conv2', x, 64, 5)
    x = net.lrn('norm2', x)
    x = net.max_pool('pool2', x, 2)
    x = net.fc('fc1', x, 384, decay=1.)
    x = net.dropout('dropout1', x, 0.5)
    x = net.fc('fc2', x, 192, decay=1.)
    return net.fc('logits', x, net.num_classes, activation='linear')


MODELS = {'cifarnet': cifarnet}
