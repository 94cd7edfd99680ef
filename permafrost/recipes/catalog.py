"""The recipes, and which one each model trains with by default."""

from typing import Any, Dict, Tuple

import models
from permafrost.errors import UserError
from permafrost.recipes.param_groups import ParamGroup
from permafrost.recipes.recipe import Published, Recipe
from permafrost.recipes.schedules import Linear, OneCycle, Staircase, Steps

_FIRST_FAMILY = 'the original implementation of these models'
_CIFAR10_FAST = 'https://github.com/davidcpage/cifar10-fast'
_AIRBENCH = 'https://github.com/KellerJordan/cifar10-airbench'
_HE = 'He et al. 2015, https://arxiv.org/abs/1512.03385, table 6'
_TORCH_BLOG = 'http://torch.ch/blog/2015/07/30/cifar.html'


def _published(source: str, **accuracies: str) -> Dict[str, Published]:
    """Return {model: Published} of accuracies, {model: text}, from one source."""
    return {model: Published(accuracy, source) for model, accuracy in accuracies.items()}


def _muon_groups(learning_rate: float) -> Tuple[ParamGroup, ...]:
    """Return the groups for Muon with batch normalization; `learning_rate` is Nesterov's."""
    return (ParamGroup('weights', weight_decay=0.),
            ParamGroup('gamma|beta|fc|logits', learning_rate=learning_rate),
            ParamGroup('depthwise', learning_rate=learning_rate, weight_decay=0.))


def _muon(epochs: int, **others: Any) -> Dict[str, Any]:
    """Return settings for Muon with batch size 500, a rate that falls to 0, and `others`."""
    return dict(dict(
        augmentation=('pad_crop:4', 'flip'), normalize='per_channel', batch_size=500,
        epochs=epochs, optimizer='muon', learning_rate=0.1,
        schedule=Linear([0, epochs], [1, 0]), weight_decay=5e-4,
        param_groups=_muon_groups(0.3), compute_dtype='bfloat16'), **others)


def _muon_unscaled(peak_epoch: float, layer_decay: float) -> Dict[str, Any]:
    """Return settings for one cycle of Muon without batch normalization.

    `layer_decay` is the decoupled weight decay of fully connected and last layers.
    """
    return dict(
        normalize='per_channel', optimizer='muon_unscaled', learning_rate=0.02,
        schedule=OneCycle(peak_epoch=peak_epoch), momentum=0.95, decoupled_weight_decay=0.1,
        param_groups=(ParamGroup('fc|logits', decoupled_weight_decay=layer_decay),
                      ParamGroup('biases', decoupled_weight_decay=0.)))


def _24x24_crops(layer_decay: float) -> Dict[str, Any]:
    """Return settings for 30,000 steps of 128 crops."""
    return dict(image_size=24, augmentation=('crop', 'flip'), train_images=3840000,
                **_muon_unscaled(10, layer_decay))


_RECIPES = (
    Recipe(
        name='tutorial',
        description="""As the TensorFlow tutorial trained: augmented 24x24 crops, averaged weights.
            `bin/permafrost train --model tuto --recipe tutorial`; accuracy in README.md.""",
        default_for=('tuto', 'convone', 'alex0', 'alex1', 'alex2', 'alex3', 'alex4',
                     'nin0', 'nin1', 'nin2', 'squeeze0'),
        published=_published(
            _FIRST_FAMILY, tuto='81.0 to 81.4', alex0='82.2', alex1='81.8', alex2='81.4',
            alex3='81.2', alex4='81.2', nin0='70.9', nin1='69.7', nin2='74.2', squeeze0='63.9',
            squeeze1='66.0'),
        image_size=24,
        augmentation=('crop', 'flip', 'brightness', 'contrast'),
        layer_weight_decay=500.,
        ema_decay=0.9999),
    Recipe(
        name='plain',
        description="""The whole 32x32 image, normalized, without augmentation.
            `bin/permafrost train --model tuto --recipe plain`.
            Accuracy: 77.30 %, 80.49 % with --tta flip_shift (1 seed, 67 minutes, tf2).""",
        default_for=('cs231n',),
        published=_published(_FIRST_FAMILY, tuto='75.3'),
        layer_weight_decay=500.,
        ema_decay=0.9999),
    Recipe(
        name='lenet5',
        description="""Twenty epochs in one cycle for the smallest network.
            `bin/permafrost train --model lenet5`.
            Accuracy: 71.77 ± 0.22 %, 75.36 ± 0.32 % with --tta flip_shift
            (3 seeds, 7 minutes, tf2).""",
        default_for=('lenet5',),
        augmentation=('pad_crop:2', 'flip'),
        normalize='per_channel',
        epochs=20,
        optimizer='nesterov',
        learning_rate=0.05,
        schedule=OneCycle(peak_epoch=4),
        weight_decay=2e-4),
    # The steps of muon_unscaled do not shrink with the weights. Without batch normalization, only a
    # decoupled weight decay limits the weights: squeeze1, one seed, reached 88.8 % with it and
    # 86.7 % with L2 of 1e-4. The last layers use Nesterov momentum and need less.
    Recipe(
        name='cifarnet',
        description="""Thirty epochs with Muon for convolutions without batch normalization.
            `bin/permafrost train --model cifarnet`.
            Accuracy: 84.62 %, 85.78 % with --tta flip_shift (1 seed, 15 minutes, tf2).""",
        default_for=('cifarnet',),
        augmentation=('pad_crop:4', 'flip'),
        epochs=30,
        compute_dtype='bfloat16',
        **_muon_unscaled(4, 5e-4)),
    Recipe(
        name='squeeze',
        description="""squeeze1 on 24x24 crops in 30,000 steps: one cycle of Muon.
            `bin/permafrost train --model squeeze1`.
            Accuracy: 88.76 %, 89.64 % with --tta flip_shift (1 seed, 41 minutes, tf2).""",
        default_for=('squeeze1',),
        published=_published(
            _FIRST_FAMILY, squeeze1='87.8 in 300,000 steps', tuto='87.2 in 300,000 steps',
            alex4='87.5 in 300,000 steps', nin2='89.8 in 300,000 steps'),
        **_24x24_crops(5e-4)),
    # Fully connected layers without batch normalization overfit with less weight decay: see
    # studies/squeeze.json.
    Recipe(
        name='tutorial_muon',
        description="""The networks of tutorial in 30,000 steps: one cycle of Muon.
            `bin/permafrost train --model tuto --recipe tutorial_muon`.
            Accuracy: 87.23 ± 0.11 %, 88.35 ± 0.40 % with --tta flip_shift
            (2 seeds, 24 minutes, tf2).""",
        published=_published(
            _FIRST_FAMILY, tuto='87.2 in 300,000 steps', alex4='87.5 in 300,000 steps',
            nin2='89.8 in 300,000 steps'),
        label_smoothing=0.1,
        compute_dtype='bfloat16',
        **_24x24_crops(0.02)),
    Recipe(
        name='resnet_paper',
        description="""As published for ResNets: rate 0.1, divided by 10 at steps 32,000 and 48,000.
            He et al. 2015 (https://arxiv.org/abs/1512.03385, section 4.2): 91.25 % for resnet20.
            `bin/permafrost train --model resnet20 --recipe resnet_paper`.
            Accuracy: not measured yet.""",
        published=_published(_HE, resnet20='91.25 in 164 epochs'),
        augmentation=('pad_crop:4', 'flip'),
        normalize='per_pixel',
        train_images=8192000,
        optimizer='momentum',
        learning_rate=0.1,
        schedule=Steps([81.92, 122.88], [0.1, 0.01]),
        weight_decay=1e-4),
    # Convolutions that Muon trains need no weight decay; other variables learn three times as fast.
    # resnet20, one seed: 83.8 % after 4 epochs, and 82.0 % with Nesterov momentum in one cycle
    # (batch size 128, learning rate 0.2, the only one tried); 91.22 % after 30 epochs, 3 images
    # below the published result.
    Recipe(
        name='resnet',
        description="""Forty epochs with Muon, a quarter of the published length.
            `bin/permafrost train --model resnet20`.
            Accuracy: 91.53 ± 0.16 %, 92.75 ± 0.16 % with --tta flip_shift
            (2 seeds, 73 minutes, tf2).""",
        default_for=('resnet20',),
        published=_published(_HE, resnet20='91.25 in 164 epochs'),
        **_muon(40)),
    Recipe(
        name='resnet_deep',
        description="""Sixty epochs with Muon for deeper ResNets (published: 164 epochs).
            `bin/permafrost train --model resnet32`.
            Accuracy: 92.98 %, 93.79 % with --tta flip_shift
            (1 seed, 9 minutes on NVIDIA H200, tf2). resnet56: 93.03 ± 0.02 %,
            94.01 ± 0.28 % (2 seeds, 99 minutes).""",
        default_for=('resnet32', 'resnet44', 'resnet56', 'resnet110'),
        published=_published(
            _HE, resnet32='92.49 in 164 epochs', resnet44='92.83 in 164 epochs',
            resnet56='93.03 in 164 epochs', resnet110='93.57 in 164 epochs'),
        **_muon(60)),
    # The last layer needs a low learning rate. The loss was 26 after 20 steps at 20; 1.94 after 60
    # steps at 0.6 (beta 0.6); 1.81 at 0.15 (beta 5). Rates in between were not tried.
    Recipe(
        name='davidnet',
        description="""Twelve epochs with Muon, half of David Page's twenty-four (94 % published).
            `bin/permafrost train --model davidnet`.
            Accuracy: 94.08 ± 0.06 %, 94.78 ± 0.01 % with --tta flip_shift
            (2 seeds, 111 minutes, tf2).""",
        default_for=('davidnet',),
        published=_published(_CIFAR10_FAST, davidnet='94 in 24 epochs'),
        **_muon(
            12, augmentation=('alternate_flip', 'reflect_crop:3'), batch_size=1000,
            learning_rate=0.12, schedule=Linear([0, 1, 12], [0.2, 1, 0]), label_smoothing=0.2,
            param_groups=(
                ParamGroup('weights', weight_decay=0.),
                ParamGroup('gamma', learning_rate=0.6),
                ParamGroup('beta', learning_rate=5., weight_decay=5e-5),
                ParamGroup('fc/weights', learning_rate=0.15)))),
    # The scale of the batch normalization is not trained; its beta learns 64 times as fast. Page
    # leaves cutout out of ten epochs: with cutout:8, one seed reached 93.65 % with --tta flip.
    Recipe(
        name='davidnet_tricks',
        description="""David Page's bag of tricks: ten epochs (94.1 % published, with --tta flip).
            `bin/permafrost train --model davidnet_tricks`; `bin/permafrost eval --tta flip`.
            Accuracy: 93.59 ± 0.01 %, 94.01 ± 0.05 % with --tta flip
            (2 seeds, 168 minutes, tf2).""",
        default_for=('davidnet_tricks',),
        published=_published(_CIFAR10_FAST, davidnet_tricks='94.1 in 10 epochs (flip)'),
        augmentation=('reflect_crop:4', 'flip'),
        normalize='per_channel',
        batch_size=512,
        epochs=10,
        optimizer='nesterov',
        learning_rate=1.,
        schedule=Linear([0, 2, 8], [0, 1, 0.1]),
        weight_decay=5e-4,
        param_groups=(ParamGroup('beta', learning_rate=64., weight_decay=7.8125e-6),),
        label_smoothing=0.2,
        ema_decay=0.99,
        ema_every=5,
        ema_epochs=2.,
        compute_dtype='bfloat16'),
    # Chosen on 5,000 validation images, in one run: 95.18 % with --tta flip. After 60 steps, beta's
    # rates of 16 and 64 differed little (loss 1.416 and 1.423).
    Recipe(
        name='davidnet_tricks_muon',
        description="""davidnet_tricks in ten epochs with Muon, without averaged weights.
            `bin/permafrost train --model davidnet_tricks --recipe davidnet_tricks_muon`;
            `bin/permafrost eval --tta flip`.
            Accuracy: 94.31 ± 0.13 %, 94.80 ± 0.03 % with --tta flip
            (2 seeds, 61 minutes, tf2).""",
        published=_published(_CIFAR10_FAST, davidnet_tricks='94.1 in 10 epochs (flip)'),
        **_muon(
            10, augmentation=('alternate_flip', 'reflect_crop:3'), batch_size=512,
            learning_rate=0.09, schedule=Linear([0, 1, 10], [0.2, 1, 0]), label_smoothing=0.2,
            param_groups=(
                ParamGroup('weights', weight_decay=0.),
                ParamGroup('beta', learning_rate=16., weight_decay=5e-6),
                ParamGroup('fc/weights', learning_rate=0.6)))),
    # Published for the sum of the gradients of a batch, here for the mean of 1,000 images: the last
    # layer 0.67 * 1000 = 670, biases 0.08 * 1000 = 80 (0.053 for batches of 2,000). The published
    # weight decay, 2e-6 * 1000 = 0.002, is not multiplied by the learning rate, so it is divided by
    # it here. The record has a batch size of 2,000 and a learning rate of 0.24: see
    # studies/sprint.json, and studies/sprint_rates.json for the biases and the jitter.
    Recipe(
        name='sprint',
        description="""Eight epochs with Muon (published: 94.01 % with --tta flip_shift).
            `bin/permafrost train --model sprint`; `bin/permafrost eval --tta flip_shift`.
            Accuracy: 93.16 ± 0.20 %, 94.12 ± 0.14 % with --tta flip_shift
            (10 seeds, 6 minutes, tf2).""",
        default_for=('sprint',),
        published=_published(_AIRBENCH, sprint='94.01 in 8 epochs (flip_shift)'),
        augmentation=('alternate_flip', 'reflect_crop:2', 'brightness:9', 'contrast:0.87:1.13'),
        normalize='per_channel',
        batch_size=1000,
        epochs=8,
        optimizer='muon',
        learning_rate=0.15,
        schedule=Linear([0, 8], [1, 0]),
        momentum=0.85,
        weight_decay=1.,
        param_groups=(
            ParamGroup('conv', weight_decay=0.),
            ParamGroup('beta', learning_rate=80., weight_decay=0.002 / 80),
            ParamGroup('whiten/biases', learning_rate=80., weight_decay=0.002 / 80,
                       freeze_epoch=0.2),
            ParamGroup('fc/weights', learning_rate=670., weight_decay=0.002 / 670)),
        label_smoothing=0.2,
        compute_dtype='bfloat16'),
    # With dropout it overfits little, so images shift by 2 pixels only. Fifteen epochs in batches
    # of 500 with shifts up to 4 pixels, one seed, reached 90.15 %, at a training loss of 0.35.
    # Twenty epochs reached 91.21 %.
    Recipe(
        name='nin_bn',
        description="""Forty epochs with Muon for NiN with batch normalization.
            `bin/permafrost train --model nin_bn`.
            Accuracy: 92.32 %, 92.95 % with --tta flip_shift
            (1 seed, 7 minutes on NVIDIA H200, tf2).""",
        default_for=('nin_bn',),
        published=_published(_TORCH_BLOG, nin_bn='92'),
        augmentation=('alternate_flip', 'reflect_crop:2'),
        normalize='per_channel',
        batch_size=250,
        epochs=40,
        optimizer='muon',
        learning_rate=0.07,
        schedule=Linear([0, 40], [1, 0]),
        weight_decay=5e-4,
        param_groups=_muon_groups(0.21),
        label_smoothing=0.1,
        compute_dtype='bfloat16'),
    # As for nin_bn: dropout in most layers limits overfitting. Six epochs reached 85.39 %.
    Recipe(
        name='vgg_bn_drop',
        description="""Forty-five epochs with Muon (published: 300 epochs, 92.45 %).
            `bin/permafrost train --model vgg_bn_drop`.
            Accuracy: 92.36 %, 92.70 % with --tta flip_shift
            (1 seed, 6 minutes on NVIDIA H200, tf2).""",
        default_for=('vgg_bn_drop',),
        published=_published(_TORCH_BLOG, vgg_bn_drop='92.45 in 300 epochs'),
        **_muon(45, augmentation=('alternate_flip', 'reflect_crop:2'), label_smoothing=0.1)),
    # The published learning rate of 1 is 0.1 here: Torch's momentum is dampened and adds (1 - 0.9)
    # of each gradient; ours adds all of it.
    Recipe(
        name='vgg_paper',
        description="""As published for vgg_bn_drop (92.45 %): 300 epochs, the rate halved every 25.
            `bin/permafrost train --model vgg_bn_drop --recipe vgg_paper`.
            Accuracy: not measured yet.""",
        published=_published(_TORCH_BLOG, vgg_bn_drop='92.45 in 300 epochs'),
        augmentation=('flip',),
        normalize='yuv_local',
        epochs=300,
        optimizer='momentum',
        learning_rate=0.1,
        schedule=Staircase(decay=0.5, every_epochs=25),
        weight_decay=5e-4),
    Recipe(
        name='xception',
        description="""Thirty epochs with Muon for depthwise separable convolutions.
            `bin/permafrost train --model xception_mini`.
            Accuracy: 90.16 ± 0.08 %, 91.67 ± 0.11 % with --tta flip_shift
            (2 seeds, 49 minutes, tf2).""",
        default_for=('xception_mini',),
        **_muon(30)),
)
RECIPES: Dict[str, Recipe] = {recipe.name: recipe for recipe in _RECIPES}
DEFAULT_RECIPES: Dict[str, str] = {
    model: recipe.name for recipe in _RECIPES for model in recipe.default_for}


def default_recipe(model: str) -> str:
    """Return the name of the recipe that `model`, or the model it is a variant of, trains with."""
    if model in models.VARIANTS:
        model = model.rpartition('_')[0]
    if model not in DEFAULT_RECIPES:
        raise UserError(f'{model} has no default recipe: name one with --recipe, or add the model '
                        'to the default_for of a recipe in permafrost/recipes/catalog.py')
    return DEFAULT_RECIPES[model]


def image_size(model: str) -> int:
    """Return the side in pixels of the images that `model` sees with its default recipe."""
    return RECIPES[default_recipe(model)].image_size
