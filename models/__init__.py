"""The models by name: preprocessed images -> logits. Importing this does not import TensorFlow.

Each module of this folder is a family: its `MODELS` maps the names of models to the functions that
build them, (Net, images) -> logits.
"""

import importlib
import pkgutil
from typing import TYPE_CHECKING, Any, Callable, Dict

if TYPE_CHECKING:
    from tensorflow.compat.v1 import Tensor

    from models.layers.net import Net
else:
    Net = Tensor = Any

MODELS: Dict[str, Callable] = {}
for _module in sorted(info.name for info in pkgutil.iter_modules(__path__) if not info.ispkg):
    MODELS.update(importlib.import_module('models.' + _module).MODELS)


def build(name: str, net: Net, images: Tensor) -> Tensor:
    """Return the logits [N, net.num_classes] of model `name` for float images [N, h, w, 3].

    Raises ValueError for an unknown name, or if the images are too small for the model.
    """
    if name not in MODELS:
        raise ValueError(f"unknown model {name!r} (choose from: {', '.join(sorted(MODELS))})")
    return MODELS[name](net, images)
