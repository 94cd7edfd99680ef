"""Recipe: how a model is trained, as one flat value; json out and in."""

import dataclasses
import inspect
from typing import Any, Dict, Mapping, NamedTuple, Tuple

from permafrost.recipes import param_groups, schedules
from permafrost.recipes.param_groups import ParamGroup
from permafrost.recipes.schedules import Schedule

# Earlier names of fields, in config.json, results/*.json and --set.
EARLIER_NAMES = {
    'images': 'train_images', 'standardize': 'normalize', 'precision': 'compute_dtype',
    'rules': 'param_groups', 'average_decay': 'ema_decay', 'average_every': 'ema_every',
    'average_epochs': 'ema_epochs'}
# The field that `weight_decay` stood for, by the earlier field `decay_mode`.
DECAY_MODES = {'layers': 'layer_weight_decay', 'coupled': 'weight_decay',
               'decoupled': 'decoupled_weight_decay'}


class Published(NamedTuple):
    """The accuracy that others reached with a model."""
    accuracy: str  # in percent, and how it was reached if that differs from the recipe
    source: str


def _about(**default: Any) -> Any:
    """Return a field that describes the recipe and does not change what is trained."""
    return dataclasses.field(repr=False, compare=False, **default)


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a model is trained. Durations are in images or epochs and hold at any batch size."""
    name: str
    image_size: int = 32  # pixels; the side of the network's input
    augmentation: Tuple[str, ...] = ()  # of augmentation.AUGMENTATIONS, in order; or name:number
    normalize: str = 'per_image'  # a name in normalization.NORMALIZATIONS
    batch_size: int = 128  # images per step
    epochs: float = 0.  # to train; 0: until `train_images` have been seen
    train_images: int = 1280000  # to train on where `epochs` is 0, whatever the dataset
    optimizer: str = 'sgd'  # a name in optimizers.OPTIMIZERS
    learning_rate: float = 0.1  # of the mean gradient of a batch
    schedule: Schedule = schedules.Constant()  # of the learning rate
    momentum: float = 0.9  # of momentum, nesterov and both muons
    weight_decay: float = 0.  # L2: this times a variable is added to its gradient
    decoupled_weight_decay: float = 0.  # AdamW's: learning rate * this * variable is subtracted
    layer_weight_decay: float = 0.  # L2 / size of the layer, for the layers that the model names
    param_groups: Tuple[ParamGroup, ...] = ()  # variables with settings of their own
    label_smoothing: float = 0.  # share of a label that is spread evenly over all classes
    ema_decay: float = 0.  # per step, of the moving average of the weights; 0: no average
    ema_every: int = 1  # steps between updates of the average
    ema_epochs: float = 0.  # average over this many last epochs; 0: over all
    compute_dtype: str = 'float32'  # or bfloat16: what convolutions multiply in training
    description: str = _about(default='')  # a line; then the command, the time and the accuracy
    default_for: Tuple[str, ...] = _about(default=())  # the models that train with it by default
    published: Mapping[str, Published] = _about(default_factory=dict)  # by model

    def __post_init__(self) -> None:
        object.__setattr__(self, 'description', inspect.cleandoc(self.description))

    def to_json(self) -> Dict[str, Any]:
        """Return the fields that decide what is trained, as a value for json."""
        value = {field.name: getattr(self, field.name)
                 for field in dataclasses.fields(self) if field.compare}
        return dict(value, augmentation=list(self.augmentation), schedule=str(self.schedule),
                    param_groups=[str(group) for group in self.param_groups])

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> 'Recipe':
        """Return the Recipe of `value`, which to_json or an earlier version wrote.

        Raises UsageError for a wrong schedule or parameter group.
        """
        fields = {EARLIER_NAMES.get(name, name): field for name, field in value.items()}
        if 'decay_mode' in fields or 'layer_weight_decay' not in fields:
            decay = DECAY_MODES[fields.pop('decay_mode', 'layers')]
            fields[decay] = fields.pop('weight_decay', 0.)
        fields['augmentation'] = tuple(fields.get('augmentation', ()))
        fields['schedule'] = schedules.from_text(fields.get('schedule', 'constant'))
        groups = fields.pop('param_groups', ())
        recipe = cls(**fields)
        return dataclasses.replace(recipe, param_groups=tuple(
            param_groups.from_text(group, recipe) for group in groups))
