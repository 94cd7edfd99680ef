"""The models by name. Nothing here imports TensorFlow: names are checked before it is."""

from models import alex, convone, cs231n, nin, squeeze, tuto

MODELS = {name: builder for family in (cs231n, convone, tuto, alex, nin, squeeze)
          for name, builder in family.MODELS.items()}

IMAGE_SIZES = dict(dict.fromkeys(MODELS, 24), cs231n=32)  # the side that the papers' counts are for


def build(name, net, images):
    """Logits [N, net.num_classes] of model `name` for preprocessed float images [N, h, w, 3].

    Raises ValueError for an unknown name.
    """
    if name not in MODELS:
        raise ValueError('unknown model %r (there are: %s)' % (name, ', '.join(sorted(MODELS))))
    return MODELS[name](net, images)
