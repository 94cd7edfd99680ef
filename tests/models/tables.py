"""Expected values of the models: parameters, operations, weights and pools."""

import re

import numpy as np

# Millions of parameters and operations as published, by model and image size.
PUBLISHED = {
    ('tuto', 24): ('1.07', '37.75'),
    ('tuto', 32): ('1.76', '66.98'),
    ('alex0', 24): ('1.46', '25.24'),
    ('alex1', 24): ('0.32', '43.51'),
    ('alex2', 24): ('1.07', '37.08'),
    ('alex3', 24): ('1.00', '37.60'),
    ('alex4', 24): ('1.49', '35.20'),
    ('nin0', 24): ('0.12', '46.21'),
    ('nin1', 24): ('0.18', '69.33'),
    ('nin2', 24): ('0.97', '251.36'),
    ('squeeze0', 24): ('0.12', '16.04'),
    ('squeeze1', 24): ('0.15', '22.84'),
}

# Millions of parameters in the papers, with their number of digits.
PUBLISHED_PARAMETERS = {'resnet20': '0.27', 'resnet32': '0.46', 'resnet44': '0.66',
                        'resnet56': '0.85', 'resnet110': '1.7', 'davidnet': '6.57'}


def total(*layers):
    """Return the sums of pairs of parameters and operations."""
    return tuple(map(sum, zip(*layers)))


def conv(size, channels, filters, side, norm=0, ops=3):
    """Return the counts of a convolution at side x side positions.

    It has a bias, `norm` vectors of batch normalization or, if `ops` is 0, neither.
    """
    vectors = norm or bool(ops)
    return ((size ** 2 * channels + vectors) * filters,
            (2 * size ** 2 * channels + ops) * filters * side ** 2)


def each(ops, *shape):
    """Return the counts of `ops` operations on each element of maps of `shape`."""
    return 0, ops * int(np.prod(shape))


def resnet_by_hand(blocks):
    layers = [conv(3, 3, 16, 32, norm=2)]
    for stage, (filters, side) in enumerate(((16, 32), (32, 16), (64, 8))):
        for block in range(blocks):
            first = filters // 2 if stage and not block else filters
            layers += [conv(3, first, filters, side, norm=2),
                       conv(3, filters, filters, side, norm=2, ops=1), each(3, side, side, filters)]
    return total(*layers + [conv(1, 64, 10, 1, ops=1)])


def davidnet_by_hand(residuals='', extras=''):
    layers = [conv(3, 3, 64, 32, 2)]
    for stage, (filters, side) in enumerate(((128, 16), (256, 8), (512, 4)), 1):
        same = conv(3, filters, filters, side, 2)
        layers += [conv(3, 64 if stage == 1 else filters // 2, filters, 2 * side, 2)]
        layers += [same, same, each(1, side, side, filters)] * (str(stage) in residuals)
        layers += [same] * (str(stage) in extras)
    return total(*layers, conv(1, 512, 10, 1, ops=0), each(1, 10))


def tricks_by_hand(prep=((3, 3, 27, 32, 0, 0), (1, 27, 64, 32, 1, 5)), vectors=1, celu=4,
                   late_pool=False):
    """Count davidnet_tricks: a normalization of `vectors`, then an activation of `celu` operations.

    `prep` are the arguments of the first convolutions.
    """
    layers = [conv(*row) for row in prep]
    for channels, filters, side in ((64, 128, 16), (128, 256, 8), (256, 512, 4)):
        if late_pool:
            layers += [conv(3, channels, filters, 2 * side, vectors, 1 + celu)]
        else:
            layers += [conv(3, channels, filters, 2 * side, ops=0), (vectors * filters, 0),
                       each(1 + celu, side, side, filters)]
        if filters != 256:
            layers += [conv(3, filters, filters, side, vectors, 1 + celu)] * 2
            layers += [each(1, side, side, filters)]
    return total(*layers, conv(1, 512, 10, 1, ops=0), each(1, 10))


def separable(channels, filters, side, stride=1, ops=3):
    return total(conv(3, 1, channels, side // stride, ops=0),
                 conv(1, channels, filters, side // stride, norm=2, ops=ops))


# Parameters and operations: (inputs + 1) * outputs, and (1 + 2 * inputs + 2 for ReLU) * outputs *
# positions, layer by layer.
BY_HAND = {
    ('cs231n', 32): (
        28 * 64 + 16385 * 500 + 501 * 10,
        57 * 64 * 32 ** 2 + 36 * 64 * 16 ** 2 + 32771 * 500 + 1001 * 10),
    ('convone', 24): (
        76 * 64 + 65 * 32 + 801 * 32 + 33 * 64 + 2305 * 384 + 385 * 192 + 193 * 10,
        153 * 64 * 24 ** 2 + (131 * 32 + 1603 * 32 + 67 * 64 + 2 * 36 * 64) * 12 ** 2
        + 4611 * 384 + 771 * 192 + 385 * 10),
    ('lenet5', 32): total(conv(5, 3, 6, 28), conv(5, 6, 16, 10), conv(1, 400, 120, 1),
                          conv(1, 120, 84, 1), conv(1, 84, 10, 1, ops=1)),
    ('cifarnet', 32): total(
        conv(5, 3, 64, 32), each(36, 16, 16, 64), conv(5, 64, 64, 16), each(36, 16, 16, 64),
        conv(1, 4096, 384, 1), conv(1, 384, 192, 1), conv(1, 192, 10, 1, ops=1)),
    ('nin_bn', 32): total(
        conv(5, 3, 192, 32, 2), conv(1, 192, 160, 32, 2), conv(1, 160, 96, 32, 2),
        conv(5, 96, 192, 16, 2), conv(1, 192, 192, 16, 2), conv(1, 192, 192, 16, 2),
        conv(3, 192, 192, 8, 2), conv(1, 192, 192, 8, 2), conv(1, 192, 10, 8, 2)),
    ('davidnet', 32): total(
        conv(3, 3, 64, 32, 2), conv(3, 64, 128, 32, 2), conv(3, 128, 128, 16, 2),
        conv(3, 128, 128, 16, 2), each(1, 16, 16, 128), conv(3, 128, 256, 16, 2),
        conv(3, 256, 512, 8, 2), conv(3, 512, 512, 4, 2), conv(3, 512, 512, 4, 2),
        each(1, 4, 4, 512), conv(1, 512, 10, 1, ops=0), each(1, 10)),
    # CELU costs 4 operations per element; a normalization after a pool is a layer of its own.
    ('davidnet_tricks', 32): total(
        conv(3, 3, 27, 32, ops=0), conv(1, 27, 64, 32, 1, 5),
        conv(3, 64, 128, 32, ops=0), (128, 0), each(5, 16, 16, 128),
        conv(3, 128, 128, 16, 1, 5), conv(3, 128, 128, 16, 1, 5), each(1, 16, 16, 128),
        conv(3, 128, 256, 16, ops=0), (256, 0), each(5, 8, 8, 256),
        conv(3, 256, 512, 8, ops=0), (512, 0), each(5, 4, 4, 512),
        conv(3, 512, 512, 4, 1, 5), conv(3, 512, 512, 4, 1, 5), each(1, 4, 4, 512),
        conv(1, 512, 10, 1, ops=0), each(1, 10)),
    # 31 positions of 2x2 patches, then 15, 7 and 3; its GELU costs 4 operations. A convolution
    # before a pool has an even number of rows and columns.
    ('sprint', 32): total(
        conv(2, 3, 24, 31, ops=1), each(4, 31, 31, 24),
        conv(3, 24, 64, 30, ops=0), (64, 0), each(5, 15, 15, 64), conv(3, 64, 64, 15, 1, 5),
        conv(3, 64, 256, 14, ops=0), (256, 0), each(5, 7, 7, 256), conv(3, 256, 256, 7, 1, 5),
        conv(3, 256, 256, 6, ops=0), (256, 0), each(5, 3, 3, 256), conv(3, 256, 256, 3, 1, 5),
        conv(1, 256, 10, 1, ops=0), each(1, 10)),
    ('vgg_bn_drop', 32): total(*[conv(3, *row, norm=2) for row in [
        (3, 64, 32), (64, 64, 32), (64, 128, 16), (128, 128, 16), (128, 256, 8), (256, 256, 8),
        (256, 256, 8), (256, 512, 4), (512, 512, 4), (512, 512, 4), (512, 512, 2),
        (512, 512, 2), (512, 512, 2)]], conv(1, 512, 512, 1, 2), conv(1, 512, 10, 1, ops=1)),
    ('xception_mini', 32): total(
        conv(3, 3, 32, 32, 2), separable(32, 64, 32), separable(64, 64, 32, 2, 1),
        conv(1, 32, 64, 16, 2, 1), each(3, 16, 16, 64), separable(64, 128, 16),
        separable(128, 128, 16, 2, 1), conv(1, 64, 128, 8, 2, 1), each(3, 8, 8, 128),
        separable(128, 128, 8), separable(128, 128, 8, 1, 1), each(3, 8, 8, 128),
        separable(128, 128, 8), separable(128, 128, 8, 1, 1), each(3, 8, 8, 128),
        separable(128, 256, 8), conv(1, 256, 10, 1, ops=1)),
}
BY_HAND.update({(name, 32): resnet_by_hand(blocks) for name, blocks in (
    ('resnet20', 3), ('resnet32', 5), ('resnet44', 7), ('resnet56', 9), ('resnet110', 18))})

BRANCHES = [('', ''), *(
    branches for layers in ('1', '2', '3', '12', '13', '23', '123')
    for branches in ((layers, ''), ('', layers)) if branches != ('13', ''))]  # that is davidnet
BY_HAND.update({
    (f"davidnet_{f'residual{r}' if r else f'extra{e}' if e else 'plain'}", 32):
        davidnet_by_hand(r, e) for r, e in BRANCHES})
BY_HAND.update({('davidnet_tricks_' + name, 32): tricks_by_hand(**change) for name, change in {
    'unwhitened': {'prep': [(3, 3, 64, 32, 1, 5)]},
    'relu': {'prep': [(3, 3, 27, 32, 0, 0), (1, 27, 64, 32, 1, 3)], 'celu': 2},
    'normscale': {'prep': [(3, 3, 27, 32, 0, 0), (1, 27, 64, 32, 2, 5)], 'vectors': 2},
    'wholebatch': {}, 'latepool': {'late_pool': True}, 'scale8': {}}.items()})

# The shapes of the weights of every model, on which checkpoints depend. Biases go with them, unless
# a suffix says otherwise: n: batch normalization; s: the same without its scale; -: nothing.
WEIGHTS = {
    'cs231n': 'conv1 3x3x3x64, fc1 16384x500, logits 500x10',
    'convone': 'conv1 5x5x3x64, conv2 1x1x64x32, conv3 5x5x32x32, conv4 1x1x32x64, '
               'fc1 2304x384, fc2 384x192, logits 192x10',
    'tuto': 'conv1 5x5x3x64, conv2 5x5x64x64, fc1 2304x384, fc2 384x192, logits 192x10',
    'alex0': 'conv1 5x5x3x64, conv2 3x3x64x96, fc1 3456x384, fc2 384x192, logits 192x10',
    'alex1': 'conv1 5x5x3x64, conv2 5x5x64x64, conv3 5x5x64x64, fc1 576x192, logits 192x10',
    'alex2': 'conv1 5x5x3x64, conv2 5x5x64x64, fc1 2304x384, fc2 384x192, logits 192x10',
    'alex3': 'conv1 5x5x3x64, conv2 5x5x64x64, fc1 2304x384, logits 384x10',
    'alex4': 'conv1 5x5x3x96, conv2 3x3x96x96, fc1 3456x384, fc2 384x192, logits 192x10',
    'nin0': 'nin1/conv 5x5x3x64, nin1/mlp1 1x1x64x64, nin1/mlp2 1x1x64x64, '
            'nin2/conv 5x5x64x64, nin2/mlp1 1x1x64x64, nin2/mlp2 1x1x64x10',
    'nin1': 'nin1/conv 5x5x3x64, nin1/mlp1 1x1x64x96, nin1/mlp2 1x1x96x96, '
            'nin2/conv 5x5x96x64, nin2/mlp1 1x1x64x64, nin2/mlp2 1x1x64x10',
    'nin2': 'nin1/conv 5x5x3x192, nin1/mlp1 1x1x192x160, nin1/mlp2 1x1x160x96, '
            'nin2/conv 5x5x96x192, nin2/mlp1 1x1x192x192, nin2/mlp2 1x1x192x192, '
            'nin3/conv 3x3x192x192, nin3/mlp1 1x1x192x192, nin3/mlp2 1x1x192x10',
    'squeeze0': 'conv1 3x3x3x64, '
                'fire1/squeeze 1x1x64x16, fire1/expand1 1x1x16x64, fire1/expand3 3x3x16x64, '
                'fire2/squeeze 1x1x128x16, fire2/expand1 1x1x16x64, fire2/expand3 3x3x16x64, '
                'fire3/squeeze 1x1x128x32, fire3/expand1 1x1x32x128, fire3/expand3 3x3x32x128, '
                'fire4/squeeze 1x1x256x32, fire4/expand1 1x1x32x128, fire4/expand3 3x3x32x128, '
                'conv2 1x1x256x10',
    'squeeze1': 'conv1 3x3x3x64, '
                'fire1/squeeze 1x1x64x32, fire1/expand1 1x1x32x64, fire1/expand3 3x3x32x64, '
                'fire2/squeeze 1x1x128x32, fire2/expand1 1x1x32x64, fire2/expand3 3x3x32x64, '
                'fire3/squeeze 1x1x128x32, fire3/expand1 1x1x32x128, fire3/expand3 3x3x32x128, '
                'fire4/squeeze 1x1x256x32, fire4/expand1 1x1x32x128, fire4/expand3 3x3x32x128, '
                'conv2 1x1x256x10',
    'lenet5': 'conv1 5x5x3x6, conv2 5x5x6x16, fc1 400x120, fc2 120x84, logits 84x10',
    'cifarnet': 'conv1 5x5x3x64, conv2 5x5x64x64, fc1 4096x384, fc2 384x192, logits 192x10',
    'nin_bn': 'nin1/conv 5x5x3x192n, nin1/mlp1 1x1x192x160n, nin1/mlp2 1x1x160x96n, '
              'nin2/conv 5x5x96x192n, nin2/mlp1 1x1x192x192n, nin2/mlp2 1x1x192x192n, '
              'nin3/conv 3x3x192x192n, nin3/mlp1 1x1x192x192n, nin3/mlp2 1x1x192x10n',
    'davidnet': 'prep 3x3x3x64n, conv1 3x3x64x128n, residual1/conv1 3x3x128x128n, '
                'residual1/conv2 3x3x128x128n, conv2 3x3x128x256n, conv3 3x3x256x512n, '
                'residual3/conv1 3x3x512x512n, residual3/conv2 3x3x512x512n, fc 512x10-',
    'davidnet_tricks': 'whiten 3x3x3x27-, prep 1x1x27x64s, conv1 3x3x64x128s, '
                       'residual1/conv1 3x3x128x128s, residual1/conv2 3x3x128x128s, '
                       'conv2 3x3x128x256s, conv3 3x3x256x512s, residual3/conv1 3x3x512x512s, '
                       'residual3/conv2 3x3x512x512s, fc 512x10-',
    'sprint': 'whiten 2x2x3x24, group1/conv1 3x3x24x64s, group1/conv2 3x3x64x64s, '
              'group2/conv1 3x3x64x256s, group2/conv2 3x3x256x256s, '
              'group3/conv1 3x3x256x256s, group3/conv2 3x3x256x256s, fc 256x10-',
    'vgg_bn_drop': 'conv1_1 3x3x3x64n, conv1_2 3x3x64x64n, conv2_1 3x3x64x128n, '
                   'conv2_2 3x3x128x128n, conv3_1 3x3x128x256n, conv3_2 3x3x256x256n, '
                   'conv3_3 3x3x256x256n, conv4_1 3x3x256x512n, conv4_2 3x3x512x512n, '
                   'conv4_3 3x3x512x512n, conv5_1 3x3x512x512n, conv5_2 3x3x512x512n, '
                   'conv5_3 3x3x512x512n, fc1 512x512n, logits 512x10',
    'xception_mini': 'conv1 3x3x3x32n, ' + ''.join(
        '{0}/depthwise 3x3x{1}x1-, {0}/pointwise 1x1x{1}x{2}n, '.format(*row) for row in [
            ('entry1/sep1', 32, 64), ('entry1/sep2', 64, 64), ('entry2/sep1', 64, 128),
            ('entry2/sep2', 128, 128), ('middle1/sep1', 128, 128), ('middle1/sep2', 128, 128),
            ('middle2/sep1', 128, 128), ('middle2/sep2', 128, 128), ('exit', 128, 256)])
        + 'entry1/shortcut 1x1x32x64n, entry2/shortcut 1x1x64x128n, logits 256x10',
}
for name, blocks in (('resnet20', 3), ('resnet32', 5), ('resnet44', 7), ('resnet56', 9),
                     ('resnet110', 18)):
    WEIGHTS[name] = 'conv1 3x3x3x16n, ' + ''.join(
        'stage{0}/block{1}/conv1 3x3x{2}x{3}n, stage{0}/block{1}/conv2 3x3x{3}x{3}n, '.format(
            stage, block, filters // 2 if stage > 1 and block == 1 else filters, filters)
        for stage, filters in ((1, 16), (2, 32), (3, 64))
        for block in range(1, blocks + 1)) + 'logits 64x10'

for residuals, extras in BRANCHES:
    text = 'prep 3x3x3x64n, '
    for number, filters in (('1', 128), ('2', 256), ('3', 512)):
        same = f'3x3x{filters}x{filters}n, '
        text += f'conv{number} 3x3x{filters // 2}x{filters}n, '
        if number in residuals:
            text += f'residual{number}/conv1 {same}residual{number}/conv2 {same}'
        text += f'extra{number} {same}' * (number in extras)
    name = f'residual{residuals}' if residuals else f'extra{extras}' if extras else 'plain'
    WEIGHTS['davidnet_' + name] = text + 'fc 512x10-'
for name in ('relu', 'wholebatch', 'latepool', 'scale8'):
    WEIGHTS['davidnet_tricks_' + name] = WEIGHTS['davidnet_tricks']
WEIGHTS['davidnet_tricks_normscale'] = re.sub(r's\b', 'n', WEIGHTS['davidnet_tricks'])
WEIGHTS['davidnet_tricks_unwhitened'] = WEIGHTS['davidnet_tricks'].replace(
    'whiten 3x3x3x27-, prep 1x1x27x64s', 'prep 3x3x3x64s')

# Multipliers of the recipe's weight decay; the weights of all other models and layers have none.
WEIGHT_DECAY = {
    'cs231n': {'conv1': 0.2, 'fc1': 0.2},
    **dict.fromkeys(['convone', 'tuto', 'alex0', 'alex2', 'alex4', 'cifarnet'],
                    {'fc1': 1, 'fc2': 1}),
    **dict.fromkeys(['alex1', 'alex3'], {'fc1': 1}),
}

# Size and stride of the max pools that are not 3 and 2. The name '' is for all others of the model.
POOLS = {'cs231n': {'': (2, 2)}, 'convone': {'pool2': (2, 2)}, 'lenet5': {'': (2, 2)},
         'cifarnet': {'': (2, 2)}, 'vgg_bn_drop': {'': (2, 2)},
         'davidnet': {'': (2, 2), 'pool': (4, 4)},
         'davidnet_tricks': {'': (2, 2), 'pool': (4, 4)}, 'sprint': {'': (2, 2), 'pool': (3, 3)}}
POOLS.update({name: POOLS['davidnet'] for name in WEIGHTS if name.startswith('davidnet_')})
