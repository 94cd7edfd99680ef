"""Recipe."""

import dataclasses
from typing import Tuple

@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a model is trained. Durations are in images or epochs, so they hold at any batch size."""
    name: str
    image_size: int = 24  # pixels; the side of what the network sees
    augmentation: Tuple[str, ...] = ()  # names in augment.AUGMENTATIONS, in order, or name:number
    standardize: str = 'per_image'  # a name in augment.STANDARDIZE
    batch_size: int = 128  # images a step
    images: int = 1280000  # images to train on, when neither --steps nor `epochs` says
    optimizer: str = 'sgd'  # a name in optimizers.OPTIMIZERS
    learning_rate: float = 0.1  # of the mean gradient of a batch
    weight_decay: float = 500.  # see decay_mode
    average_decay: float = 0.9999  # a step, of the moving averages of the weights; 0: none
    epochs: float = 0.  # to train; 0: `images` says
    schedule: str = 'constant'  # of the learning rate; see permafrost.schedules
    momentum: float = 0.9  # of momentum, nesterov and both muons
    decay_mode: str = 'layers'  # a name in training.DECAYS
    rules: Tuple[str, ...] = ()  # exceptions for variables; see permafrost.recipes.Rule
    label_smoothing: float = 0.  # share of a label spread evenly over all classes
    average_every: int = 1  # steps between updates of the averages
    precision: str = 'float32'  # of what convolutions multiply in training; or bfloat16
    average_epochs: float = 0.  # the last epochs that are averaged; 0: all
    about: str = dataclasses.field(default='', repr=False, compare=False)
