"""vgg_bn_drop: VGG with batch norm and dropout (Sergey Zagoruyko 2015).

http://torch.ch/blog/2015/07/30/cifar.html. 14.99 M parameters, 627.76 M ops at 32x32.
"""

from models import Net, Tensor

STAGES = [(64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512)]


def vgg_bn_drop(net: Net, x: Tensor) -> Tensor:
    net.initializer = 'he_normal_fan_out'
    for i, stage in enumerate(STAGES, 1):
        for j, filters in enumerate(stage, 1):
            x = net.conv(f'conv{i}_{j}', x, filters, 3, norm=True)
            if j < len(stage):
                x = net.dropout(f'dropout{i}_{j}', x, 0.3 if i == 1 else 0.4)
        x = net.max_pool(f'pool{i}', x, 2)
    x = net.dropout('dropout6', x, 0.5)
    x = net.fc('fc1', x, 512, norm=True)
    x = net.dropout('dropout7', x, 0.5)
    # Torch's default. he_normal_fan_out is for convolutions: logits would begin 17 times as large.
    return net.fc('logits', x, net.num_classes, activation='linear', initializer='pytorch_default')


MODELS = {'vgg_bn_drop': vgg_bn_drop}
