"""Recipe: how a model is trained, as one flat value; json out and in."""

import dataclasses
import inspect
import re
from typing import Any, Dict, Mapping, NamedTuple, Tuple

from permafrost import schema
from permafrost.recipes import param_groups, schedules
from permafrost.recipes.param_groups import ParamGroup
from permafrost.recipes.schedules import ProgressiveResizing, Schedule
from permafrost.schema import limited

NORMALIZATION_NAMES = ('per_image', 'per_channel', 'per_pixel', 'yuv_local')
OPTIMIZER_NAMES = ('sgd', 'momentum', 'nesterov', 'adam', 'muon', 'muon_unscaled')
COMPUTE_DTYPES = ('float32', 'bfloat16')
SPARSITY_SCOPES = ('layer', 'global')
PLAIN_NAME = re.compile(r'\w[\w.-]{0,99}').fullmatch
DECAY_FIELDS = ('weight_decay', 'decoupled_weight_decay', 'layer_weight_decay')
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
    """How a model is trained.

    Durations are in images or epochs and hold at any batch size, but for ema_every and ema_decay,
    which are per step.
    """
    name: str = limited(test=PLAIN_NAME, meaning='a plain name')
    image_size: int = limited(
        32, minimum=1, maximum=4096, text='Side in pixels of the square input of the network.')
    augmentation: Tuple[str, ...] = limited(
        (), count=(0, 20), text='Random changes of the training images, such as '
        'pad_crop:4,flip,cutout:8, or none. docs/training.md explains them.')
    normalize: str = limited(
        'per_image', names=NORMALIZATION_NAMES, earlier='standardize', text='Input normalization.')
    batch_size: int = limited(128, minimum=1, maximum=100000, text='Images per step.')
    epochs: float = limited(
        0., minimum=0, maximum=1e9, text='Number of epochs; the schedule is rescaled to it. '
        '0: train on --train_images images.')
    train_images: int = limited(
        1280000, minimum=1, maximum=10**12, earlier='images',
        text='Length of the training in images, on any dataset, if --epochs is 0.')
    optimizer: str = limited('sgd', names=OPTIMIZER_NAMES, text='Optimizer.')
    learning_rate: float = limited(
        0.1, minimum=0, maximum=1e9,
        text='Peak learning rate, for the gradient averaged over the batch.')
    schedule: Schedule = limited(
        schedules.Constant(), hint=str, count=(1, 2000), text="Learning-rate schedule: a factor "
        "by epoch, such as 'one_cycle 5', 'linear 0:0 5:1 24:0', 'steps 82:0.1 123:0.01' or "
        "constant.")
    momentum: float = limited(
        0.9, minimum=0, below=1, text='Momentum coefficient of momentum, nesterov, muon and '
        'muon_unscaled. With muon, convolutions always use 0.6.')
    weight_decay: float = limited(
        0., minimum=0, maximum=1e9, text='L2 regularization: adds weight_decay * variable to the '
        'gradient.')
    decoupled_weight_decay: float = limited(
        0., minimum=0, maximum=1e9, text='Weight decay of AdamW: subtracts learning rate * '
        'decoupled_weight_decay * variable. It has no effect on convolutions with muon, which '
        'rescales them.')
    layer_weight_decay: float = limited(
        0., minimum=0, maximum=1e9, text='L2 regularization of the layers that the model '
        'chooses; the term of each layer is divided by its number of weights.')
    param_groups: Tuple[ParamGroup, ...] = limited(
        (), hint=Tuple[str, ...], count=(0, 100), earlier='rules', text='Parameter groups: '
        "learning rate or weight decay of the variables whose names match, such as "
        "'beta learning_rate=0.5 weight_decay=0,fc freeze_epoch=3', or none. If several "
        'groups match a variable, the last one applies. The flag replaces all groups of the '
        'recipe.')
    label_smoothing: float = limited(
        0., minimum=0, below=1, text='Fraction of a label that is spread evenly over all classes.')
    ema_decay: float = limited(
        0., minimum=0, below=1, earlier='average_decay', text='Decay per step of the moving '
        'average of the weights; 0: no average.')
    ema_every: int = limited(
        1, minimum=1, earlier='average_every', text='Steps between updates of the average.')
    ema_epochs: float = limited(
        0., minimum=0, maximum=1e9, earlier='average_epochs', text='Average over the last N '
        'epochs; 0: over all.')
    compute_dtype: str = limited(
        'float32', names=COMPUTE_DTYPES, earlier='precision', text='Data type of '
        'convolutions in training (mixed precision).')
    progressive_resizing: ProgressiveResizing = limited(
        ProgressiveResizing(), hint=str, count=(0, 2000), text="Train on smaller images at first: "
        "MODE EPOCH:PIXELS ..., such as 'crop 0:28 6:32', or none. MODE is crop (a random crop) or "
        "resize. Rescaled with --epochs.")
    quantization_aware_epochs: float = limited(
        0., minimum=0, maximum=1e9, text='Train the last epochs with weights and activations '
        'rounded to 8 bits, for int8 files (arXiv:1712.05877). 0: none.')
    distillation_temperature: float = limited(
        1., minimum=0.01, maximum=1000, text='With --teacher: softmax temperature of student and '
        'teacher (arXiv:1503.02531).')
    distillation_weight: float = limited(
        0.9, minimum=0, maximum=1, text='With --teacher: weight of the divergence from the '
        'teacher in the loss; the cross entropy with the labels gets the rest.')
    sparsity: float = limited(
        0., minimum=0, below=1, text='Pruning: fraction of the weights that become zero '
        '(arXiv:1710.01878). 0: none.')
    sparsity_scope: str = limited(
        'layer', names=SPARSITY_SCOPES, text='Pruning: whether sparsity is the fraction of zeros '
        'in each layer, or in all layers together, chosen by LAMP scores (arXiv:2010.07611).')
    structured_sparsity: float = limited(
        0., minimum=0, below=1, text='Pruning: fraction of the filters of each layer to remove; '
        'freeze_graph.py removes them. Layer widths stay multiples of 16 or 8. 0: none.')
    prune_start_epoch: float = limited(
        0., minimum=0, maximum=1e9, text='Epoch at which pruning begins.')
    prune_epochs: float = limited(
        0., minimum=0, maximum=1e9, text='Epochs over which the sparsity rises; afterwards the '
        'network is fine-tuned. 0: half of the epochs that are left.')
    spared_layers: Tuple[str, ...] = limited(
        ('first', 'last'), count=(0, 100), text='Layers that are not pruned: first, last, names '
        'such as conv1, or none.')
    description: str = _about(default='')  # a line; then the command, the time and the accuracy
    default_for: Tuple[str, ...] = _about(default=())  # the models that train with it by default
    published: Mapping[str, Published] = _about(default_factory=dict)  # by model

    def __post_init__(self) -> None:
        object.__setattr__(self, 'description', inspect.cleandoc(self.description))

    @property
    def default_weights(self) -> str:
        """The weights that a run is judged by: 'averaged' if the recipe averages, else 'raw'."""
        return 'averaged' if self.ema_decay else 'raw'

    def to_json(self) -> Dict[str, Any]:
        """Return the fields that decide what is trained, as a value for json."""
        value = {field.name: getattr(self, field.name)
                 for field in dataclasses.fields(self) if field.compare}
        return dict(value, augmentation=list(self.augmentation), schedule=str(self.schedule),
                    progressive_resizing=str(self.progressive_resizing),
                    spared_layers=list(self.spared_layers),
                    param_groups=[str(group) for group in self.param_groups])

    @classmethod
    def from_json(cls, value: Any, where: str = '') -> 'Recipe':
        """Return the Recipe of `value`, which to_json or an earlier version wrote.

        Raises UsageError; its line names the field, in `where`.
        """
        value = schema.check(value, Dict[str, Any], where)
        if 'decay_mode' in value or 'layer_weight_decay' not in value:
            mode = schema.check(value.pop('decay_mode', 'layers'), str,
                                schema.join(where, 'decay_mode'), schema.Limits(names=DECAY_MODES))
            value[DECAY_MODES[mode]] = value.pop('weight_decay', 0.)
        fields = schema.check(value, cls, where, closed=True)
        fields['augmentation'] = tuple(fields.get('augmentation', ()))
        if 'spared_layers' in fields:
            fields['spared_layers'] = tuple(fields['spared_layers'])
        fields['schedule'] = schedules.from_text(fields.get('schedule', 'constant'))
        fields['progressive_resizing'] = schedules.resizing_from_text(
            fields.get('progressive_resizing', 'none'))
        groups = fields.pop('param_groups', ())
        recipe = cls(**fields)
        return dataclasses.replace(recipe, param_groups=tuple(
            param_groups.from_text(group, recipe) for group in groups))


# Earlier names of fields, in config.json, results/*.json and --set.
EARLIER_NAMES = {field.metadata['earlier']: field.name for field in dataclasses.fields(Recipe)
                 if field.metadata.get('earlier')}
