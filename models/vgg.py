"""vgg_bn_drop: VGG with batch norm and dropout (Sergey Zagoruyko 2015).

http://torch.ch/blog/2015/07/30/cifar.html. 14.99 M parameters, 627.76 M ops at 32x32.
"""

STAGES = [(64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512)]


def vgg_bn_drop(net, x):
    net.initializer = 'he_normal_out'
    for i, stage in enumerate(STAGES, 1):
        for j, filters in enumerate(stage, 1):
            x = net.conv('conv%d_%d' % (i, j), x, filters, 3, norm=True)
            if j < len(stage):
                x = net.dropout('dropout%d_%d' % (i, j), x, 0.3 if i == 1 else 0.4)
        x = net.max_pool('pool%d' % i, x, 2)
    x = net.dropout('dropout6', x, 0.5)
    x = net.fc('fc1', x, 512, norm=True)
    x = net.dropout('dropout7', x, 0.5)
    # Torch's own; he_normal_out, meant for convolutions, begins with logits 17 times as large.
    return net.fc('logits', x, net.num_classes, activation='linear', initializer='fan_in_uniform')


MODELS = {'vgg_bn_drop': vgg_bn_drop}
