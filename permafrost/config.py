"""Config: the one value that travels; its flags; json in and out.

Nothing here imports TensorFlow: threads are chosen before it is imported.
"""

import dataclasses
from typing import Optional, Tuple

from permafrost.errors import UsageError
from permafrost.recipes.recipe import Recipe

@dataclasses.dataclass(frozen=True)
class Config:
    """Everything needed to rebuild the graphs of a run.

    `data_dir` is None for the default place. Threads of 0 mean "as measured for the engine".
    """
    model: str
    recipe: Recipe
    steps: int  # the global step at which training is done
    dataset: str = 'cifar10'
    data_dir: Optional[str] = None
    source: str = 'memory'
    seed: int = 1
    deterministic: bool = False
    save_steps: int = 1000
    save_secs: int = 120
    max_to_keep: int = 5
    summary_steps: int = 100
    histogram_steps: int = 1000
    log_steps: int = 100
    intra_op_threads: int = 0
    inter_op_threads: int = 0
    train_images: int = 50000  # of the data set: the length of an epoch
    statistics: Tuple[float, ...] = ()  # of the training images; see permafrost.statistics

    def to_json(self):
        """A value that json can write; from_json reads it back."""
        value = dataclasses.asdict(self)
        del value['recipe']['about']
        return value

    @classmethod
    def from_json(cls, value):
        """The Config that to_json wrote; fields added since take their defaults."""
        value = dict(value)
        if 'data_set' in value:  # the name before
            value['dataset'] = value.pop('data_set')
        recipe = {name: tuple(field) if isinstance(field, list) else field
                  for name, field in value['recipe'].items()}
        return cls(**dict(value, recipe=Recipe(**recipe),
                          statistics=tuple(value.get('statistics', ()))))


# What a resumed run may change; the rest decides what is trained and stays.
RESUMABLE = ('steps', 'data_dir', 'save_steps', 'save_secs', 'max_to_keep', 'summary_steps',
             'histogram_steps', 'log_steps', 'intra_op_threads', 'inter_op_threads')


def merged_for_resume(old, recipe, changes):
    """The `old` Config with `changes` ({flag: value}), where a resumed run may make them.

    `recipe` is what the flags make of the old recipe. Raises UsageError when a flag would
    change what is trained.
    """
    fields = {field.name for field in dataclasses.fields(Config)} - {
        'recipe', 'train_images', 'statistics'}
    for name in sorted(fields & set(changes) - set(RESUMABLE)):
        if changes[name] != getattr(old, name):
            raise UsageError('this run was started with --%s=%s, not %s: start another run, or '
                             'leave the flag out' % (name, getattr(old, name), changes[name]))
    if recipe != old.recipe:
        raise UsageError('this run was started with another recipe (%s); start another run, or '
                         'leave --recipe and --set out' % (old.recipe,))
    return dataclasses.replace(old, **{n: changes[n] for n in RESUMABLE if n in changes})
