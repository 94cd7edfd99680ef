"""Named recipes, and what turns their images and epochs into steps and learning rates."""

from permafrost.recipes.recipe import Recipe
RECIPES = {}
DEFAULT_RECIPES = {}  # model -> the name of its recipe; the others have `tutorial`
NOT_MEASURED = 'Accuracy: not measured yet.'


def _recipe(about, name, models=(), **fields):
    RECIPES[name] = Recipe(name, about=about, **fields)
    DEFAULT_RECIPES.update(dict.fromkeys(models, name))


_recipe("""As the TensorFlow tutorial trained: distorted 24x24 crops, SGD 0.1, weight averages.

`python train.py --model tuto --recipe tutorial`; accuracy in README.md.""",
        'tutorial', image_size=24, augmentation=('crop', 'flip', 'brightness', 'contrast'))

_recipe("""The whole 32x32 image, standardized, without augmentation.

`python train.py --model cs231n --recipe plain`. """ + NOT_MEASURED,
        'plain', image_size=32)

# What the recipes below share: the whole image moved by up to 4 pixels and mirrored, Nesterov
# momentum, weight decay on every variable, no averages.
_MOVED = dict(image_size=32, augmentation=('pad_crop:4', 'flip'), standardize='per_channel',
              optimizer='nesterov', decay_mode='coupled', average_decay=0.)
_ROUNDED = dict(_MOVED, precision='bfloat16')
# For networks with batch normalization: convolutions take Muon's steps, which need no decay, and
# the rest learns three times as fast. Four epochs of resnet20, one seed, gave 83.8 % so, and 82.0 %
# in batches of 128 in one cycle of Nesterov's momentum at 0.2, of which no other rate was tried.
_MUON = dict(_ROUNDED, batch_size=500, optimizer='muon', learning_rate=0.1, weight_decay=5e-4,
             rules=('weights decay=0', 'gamma|beta|fc|logits rate=3', 'depthwise rate=3 decay=0'))

# Steps that are as long whatever the weights want a decay where nothing normalizes: squeeze1, one
# seed, ended at 88.8 % so, at 86.7 % with a coupled 1e-4. The last layers, of Nesterov's momentum,
# take little of it.
_MUON_UNSCALED = dict(_MOVED, optimizer='muon_unscaled', learning_rate=0.02, momentum=0.95,
                      decay_mode='decoupled', weight_decay=0.1,
                      rules=('fc|logits decay=0.005', 'biases decay=0'))

_recipe("""Twenty epochs in one cycle for the smallest network.

`python train.py --model lenet5`.
Accuracy: 72.03 %, 75.11 % with --tta flip_shift (1 seed, 4 minutes, tf2).""",
        'lenet5', models=['lenet5'], **dict(
            _MOVED, augmentation=('pad_crop:2', 'flip'), epochs=20, learning_rate=0.05,
            schedule='one_cycle 4', weight_decay=2e-4))

_recipe("""Thirty epochs with Muon for convolutions without batch normalization.

`python train.py --model cifarnet`.
Accuracy: 84.42 %, 85.72 % with --tta flip_shift (1 seed, 31 minutes, tf2).""",
        'cifarnet', models=['cifarnet'], **dict(
            _MUON_UNSCALED, precision='bfloat16', epochs=30, schedule='one_cycle 4'))

_recipe("""squeeze1 on 24x24 crops in 30,000 steps: one cycle of Muon.

`python train.py --model squeeze1 --recipe squeeze`.
Accuracy: 88.76 %, 89.64 % with --tta flip_shift (1 seed, 41 minutes, tf2).""",
        'squeeze', **dict(
            _MUON_UNSCALED, image_size=24, augmentation=('crop', 'flip'), images=3840000,
            schedule='one_cycle 10'))

_recipe("""As published for ResNets: rate 0.1, divided by 10 at 32,000 and 48,000 of 64,000 steps.

He et al. 2015 (https://arxiv.org/abs/1512.03385, section 4.2): 91.25 % for resnet20.
`python train.py --model resnet20 --recipe resnet_paper`. """ + NOT_MEASURED,
        'resnet_paper', **dict(
            _MOVED, standardize='per_pixel', images=8192000, optimizer='momentum',
            learning_rate=0.1, schedule='steps 81.92:0.1 122.88:0.01', weight_decay=1e-4))

# Thirty epochs of resnet20, one seed, ended at 91.22 %, 3 images below what was published.
_recipe("""Forty epochs with Muon, a quarter of what was published.

`python train.py --model resnet20`.
Accuracy: 91.65 %, 92.87 % with --tta flip_shift (1 seed, 73 minutes, tf2).""",
        'resnet', models=['resnet20', 'resnet32', 'resnet44', 'resnet56', 'resnet110'], **dict(
            _MUON, epochs=40, schedule='linear 0:1 40:0'))

# The last layer learns slowly: at 20 the loss was 26 after 20 steps, at 0.6 (beta 0.6) 1.94 after
# 60, at 0.15 (beta 5) 1.81. What is between was not tried.
_recipe("""Twelve epochs with Muon, half of David Page's twenty-four (94 % published).

`python train.py --model davidnet`.
Accuracy: 94.04 %, 94.79 % with --tta flip_shift (1 seed, 111 minutes, tf2).""",
        'davidnet', models=['davidnet'], **dict(
            _ROUNDED, augmentation=('alternate_flip', 'reflect_crop:3'), batch_size=1000,
            epochs=12, optimizer='muon', learning_rate=0.12,
            schedule='linear 0:0.2 1:1 12:0', weight_decay=5e-4, label_smoothing=0.2,
            rules=('weights decay=0', 'gamma rate=0.6/0.12', 'beta rate=5/0.12 decay=0.1',
                   'fc/weights rate=0.15/0.12')))

# Without a scale to train, what is left of the batch normalization learns 64 times as fast.
_recipe("""David Page's bag of tricks: ten epochs (94.1 % published, with --tta flip).

`python train.py --model davidnet_tricks`; `python eval.py --tta flip`. """ + NOT_MEASURED,
        'davidnet_tricks', models=['davidnet_tricks'], **dict(
            _ROUNDED, augmentation=('reflect_crop:4', 'flip', 'cutout:8'), batch_size=512,
            epochs=10, learning_rate=1., schedule='linear 0:0 2:1 8:0.1', weight_decay=5e-4,
            rules=('beta rate=64 decay=1/64',), label_smoothing=0.2,
            average_decay=0.99, average_every=5, average_epochs=2.))

# The published rates are of the sum of gradients over 2,000 images, ours of their mean: biases
# 0.053 * 2000 = 106, the last layer 0.67 * 2000 = 1340; the decays are 2e-6 * 2000 of each.
_recipe("""Ten epochs with Muon, after Keller Jordan's eight (94.01 % with --tta flip_shift).

`python train.py --model sprint`; `python eval.py --tta flip_shift`.
Accuracy: 93.45 ± 0.27 %, 94.30 ± 0.18 % with --tta flip_shift (3 seeds, 23 minutes, tf2).""",
        'sprint', models=['sprint'], **dict(
            _ROUNDED, augmentation=('alternate_flip', 'reflect_crop:2'), batch_size=2000,
            epochs=10, optimizer='muon', learning_rate=0.24, schedule='linear 0:1 10:0',
            momentum=0.85, weight_decay=1.,
            rules=('conv decay=0', 'beta rate=106/0.24 decay=0.004/106',
                   'whiten/biases rate=106/0.24 decay=0.004/106 until=3',
                   'fc/weights rate=1340/0.24 decay=0.004/1340'), label_smoothing=0.2))

# Its dropout leaves little to overfit, so images move less: fifteen epochs in batches of 500, moved
# by up to 4 pixels, one seed, ended at 90.15 %, at a loss of 0.35 on the training images.
_recipe("""Twenty epochs with Muon for NiN with batch normalization.

`python train.py --model nin_bn`.
Accuracy: 91.21 %, 91.67 % with --tta flip_shift (1 seed, 100 minutes, tf2).""",
        'nin_bn', models=['nin_bn'], **dict(
            _MUON, augmentation=('alternate_flip', 'reflect_crop:2'), batch_size=250,
            epochs=20, learning_rate=0.07, schedule='linear 0:1 20:0', label_smoothing=0.1))

# Longer was not tried: at the speed of docs/speed.md an epoch takes seven minutes.
_recipe("""Six epochs with Muon, with flips and moves (published: 300 epochs, 92.45 %).

`python train.py --model vgg_bn_drop`.
Accuracy: 85.39 %, 85.74 % with --tta flip_shift (1 seed, 55 minutes, tf2).""",
        'vgg_bn_drop', models=['vgg_bn_drop'], **dict(
            _MUON, epochs=6, schedule='linear 0:1 6:0'))

# Published as rate 1, with a momentum that dampens: Torch's adds (1 - 0.9) of each gradient, ours
# all of it.
_recipe("""As published for vgg_bn_drop: 300 epochs, a rate halved every 25, flips alone (92.45 %).

`python train.py --model vgg_bn_drop --recipe vgg_paper`. """ + NOT_MEASURED,
        'vgg_paper', **dict(
            _MOVED, augmentation=('flip',), standardize='yuv_local', epochs=300,
            optimizer='momentum', learning_rate=0.1, schedule='staircase 0.5 25',
            weight_decay=5e-4))

_recipe("""Thirty epochs with Muon for depthwise separable convolutions.

`python train.py --model xception_mini`.
Accuracy: 90.21 %, 91.75 % with --tta flip_shift (1 seed, 49 minutes, tf2).""",
        'xception', models=['xception_mini'], **dict(
            _MUON, epochs=30, schedule='linear 0:1 30:0'))


def default_recipe(model):
    """The name of the recipe that a model has where none is asked for."""
    return DEFAULT_RECIPES.get(model, 'tutorial')
