"""The models by name. Nothing here imports TensorFlow: names are checked before it is."""

from models import (alex, cifarnet, convone, cs231n, davidnet, lenet5, nin, resnet, sprint, squeeze,
                    tuto, vgg, xception)

FAMILIES = (cs231n, convone, tuto, alex, nin, squeeze, lenet5, cifarnet, resnet, davidnet, sprint,
            vgg, xception)
MODELS = {name: builder for family in FAMILIES for name, builder in family.MODELS.items()}

# The side that the papers' counts are for.
SMALL = ('convone', 'tuto', 'alex0', 'alex1', 'alex2', 'alex3', 'alex4', 'nin0', 'nin1', 'nin2',
         'squeeze0', 'squeeze1')
IMAGE_SIZES = {name: 24 if name in SMALL else 32 for name in MODELS}


def build(name, net, images):
    """Logits [N, net.num_classes] of model `name` for preprocessed float images [N, h, w, 3].

    Raises ValueError for an unknown name.
    """
    if name not in MODELS:
        raise ValueError('unknown model %r (there are: %s)' % (name, ', '.join(sorted(MODELS))))
    return MODELS[name](net, images)
