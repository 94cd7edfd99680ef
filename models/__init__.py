"""The models by name: preprocessed images -> logits. Importing this does not import TensorFlow.

Each module of this folder is a family: its `MODELS` maps the names of models to the functions that
build them, (Net, images) -> logits. Its `VARIANTS`, if any, are models that studies compare: they
are trained as the others are, and left out where all models are listed. `<model>_<word>` is a
variant of `<model>`, whose recipe it takes.
"""

import collections
import importlib
import pkgutil
from typing import TYPE_CHECKING, Any, Callable, Dict, Mapping, Tuple

if TYPE_CHECKING:
    from tensorflow.compat.v1 import Tensor

    from models.layers.net import Net
else:
    Net = Tensor = Any

MODELS: Dict[str, Callable] = {}
VARIANTS: Dict[str, Callable] = {}
ALL: Mapping[str, Callable] = collections.ChainMap(MODELS, VARIANTS)
for _module in sorted(info.name for info in pkgutil.iter_modules(__path__) if not info.ispkg):
    _family = importlib.import_module('models.' + _module)
    MODELS.update(_family.MODELS)
    VARIANTS.update(getattr(_family, 'VARIANTS', {}))


def build(name: str, net: Net, images: Tensor) -> Tensor:
    """Return the logits [N, net.num_classes] of model `name` for float images [N, h, w, 3].

    Raises ValueError for an unknown name, or if the images are too small for the model.
    """
    if name not in ALL:
        raise ValueError(f"unknown model {name!r} (choose from: {', '.join(sorted(ALL))})")
    return net.rounded(ALL[name](net, images))


def build_inference(name: str, num_classes: int, image_size: int) -> Tuple[Net, Tensor]:
    """Return the Net and the logits of model `name` for inference, in a graph of its own.

    Its images are a placeholder, float32 [N, image_size, image_size, 3]. Raises ValueError as
    `build` does.
    """
    import tensorflow.compat.v1 as tf

    from models.layers.net import Net
    with tf.Graph().as_default():
        net = Net(training=False, num_classes=num_classes)
        return net, build(name, net, tf.placeholder(
            tf.float32, [None, image_size, image_size, 3]))
