"""Five of the models in plain PyTorch, layer by layer, for 32x32 images (tuto: 24x24).

Maps are [N, C, H, W], in the memory format channels_last. Strided and Gelu compute something else
in training, which PyTorch does faster.
"""

import torch
from torch import nn
from torch.nn import functional


class Strided(nn.Conv2d):
    """A 3x3 convolution of stride 2, of maps with even sides.

    TensorFlow pads only below and on the right, which costs PyTorch a copy. Training pads all
    sides, as PyTorch's own ResNets do: the same shapes and work.
    """

    def __init__(self, channels, filters):
        super().__init__(channels, filters, 3, stride=2, padding=1, bias=False)

    def forward(self, x):
        if self.training:
            return super().forward(x)
        return functional.conv2d(functional.pad(x, (0, 1, 0, 1)), self.weight, None, 2)


class Gelu(nn.Module):
    """x * sigmoid(1.702 x); in training the exact GELU, a single operation of PyTorch."""
    exact = False  # also in inference

    def forward(self, x):
        if self.training or self.exact:
            return functional.gelu(x)
        return x * torch.sigmoid(1.702 * x)


class Apply(nn.Module):
    """A function without weights."""

    def __init__(self, function):
        super().__init__()
        self.forward = function


class Residual(nn.Sequential):
    """The sum of the layers' output and their input."""

    def forward(self, x):
        return x + super().forward(x)


class Block(nn.Module):
    """A ResNet block with option A shortcuts (https://arxiv.org/abs/1512.03385, section 4.2)."""

    def __init__(self, channels, filters):
        super().__init__()
        first = conv(channels, filters) if channels == filters else Strided(channels, filters)
        self.padding = filters - channels
        self.layers = nn.Sequential(first, norm(filters), relu(), conv(filters, filters),
                                    norm(filters))

    def forward(self, x):
        y = self.layers(x)
        if self.padding:
            x = functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.padding // 2,
                                                   self.padding - self.padding // 2))
        return functional.relu(x + y, inplace=True)


def conv(channels, filters, size=3, bias=False, pad=True):
    return nn.Conv2d(channels, filters, size, padding=size // 2 if pad else 0, bias=bias)


def rows():
    """Return a layer [N, C, H, W] -> [N, H * W * C], in the order of channels_last: no copy."""
    return Apply(lambda x: x.permute(0, 2, 3, 1).flatten(1))


def relu():
    return nn.ReLU(inplace=True)


def norm(channels, epsilon=1e-3, decay=0.9, scale=True, kind=nn.BatchNorm2d):
    """Return batch normalization; without `scale` its weight is an untrained buffer of ones."""
    layer = kind(channels, eps=epsilon, momentum=1 - decay)
    if not scale:
        del layer.weight
        layer.register_buffer('weight', torch.ones(channels))
    return layer


def tuto():
    def lrn():
        return nn.LocalResponseNorm(9, alpha=0.001, beta=0.75, k=1.)  # divides alpha by 9

    def pool():
        return nn.MaxPool2d(3, 2, ceil_mode=True)

    return nn.Sequential(
        conv(3, 64, 5, bias=True), relu(), pool(), lrn(),
        conv(64, 64, 5, bias=True), relu(), lrn(), pool(), rows(),
        nn.Linear(6 * 6 * 64, 384), relu(), nn.Linear(384, 192), relu(), nn.Linear(192, 10))


def resnet20():
    blocks, channels = [], 16
    for filters in (16, 32, 64):
        for _ in range(3):
            blocks.append(Block(channels, filters))
            channels = filters
    return nn.Sequential(conv(3, 16), norm(16), relu(), *blocks, nn.AdaptiveAvgPool2d(1),
                         nn.Flatten(), nn.Linear(64, 10))


def davidnet():
    def layer(channels, filters):
        return nn.Sequential(conv(channels, filters), norm(filters, 1e-5), relu())

    def pooled(channels, filters):
        return nn.Sequential(layer(channels, filters), nn.MaxPool2d(2))

    def residual(filters):
        return Residual(layer(filters, filters), layer(filters, filters))

    return nn.Sequential(
        layer(3, 64), pooled(64, 128), residual(128), pooled(128, 256), pooled(256, 512),
        residual(512), nn.MaxPool2d(4), nn.Flatten(), nn.Linear(512, 10, bias=False),
        Apply(lambda x: x * 0.125))


def sprint():
    def group(channels, filters):
        return [conv(channels, filters), nn.MaxPool2d(2), unscaled(filters), Gelu(),
                conv(filters, filters), unscaled(filters), Gelu()]

    def unscaled(filters):
        return norm(filters, 1e-5, 0.6, scale=False)

    whiten = conv(3, 24, 2, bias=True, pad=False)
    whiten.weight.requires_grad_(False)
    return nn.Sequential(whiten, Gelu(), *group(24, 64), *group(64, 256), *group(256, 256),
                         nn.MaxPool2d(3), rows(), nn.Linear(256, 10, bias=False),
                         Apply(lambda x: x / 256))


def vgg_bn_drop():
    layers, channels = [], 3
    for i, stage in enumerate([(64,) * 2, (128,) * 2, (256,) * 3, (512,) * 3, (512,) * 3]):
        for j, filters in enumerate(stage, 1):
            layers += [conv(channels, filters), norm(filters), relu()]
            layers += [nn.Dropout(0.3 if i == 0 else 0.4)] if j < len(stage) else []
            channels = filters
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(
        *layers, rows(), nn.Dropout(0.5), nn.Linear(512, 512, bias=False),
        norm(512, kind=nn.BatchNorm1d), relu(), nn.Dropout(0.5), nn.Linear(512, 10))


NETWORKS = {function.__name__: function
            for function in (davidnet, resnet20, vgg_bn_drop, tuto, sprint)}


def set_weights(network, arrays):
    """Set the weights to TensorFlow's, [k, k, in, out] or [in, out], in the order of their use.

    Raises ValueError if their number or shapes differ.
    """
    arrays = [array.transpose(3, 2, 0, 1) if array.ndim == 4 else array.T for array in arrays]
    shapes = [tuple(value.shape) for value in network.parameters()]
    if shapes != [array.shape for array in arrays]:
        raise ValueError(f'the weights have shapes {[array.shape for array in arrays]}, not '
                         f'{shapes}')
    with torch.no_grad():
        for value, array in zip(network.parameters(), arrays):
            value.copy_(torch.from_numpy(array.copy()))
