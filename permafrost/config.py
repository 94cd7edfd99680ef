"""Config: everything that decides a training, as one value; json out and in.

Nothing here imports TensorFlow: threads are chosen before it is imported.
"""

import dataclasses
from typing import Any, Dict, Mapping, Optional, Tuple

from permafrost.errors import UsageError
from permafrost.recipes.recipe import Recipe


@dataclasses.dataclass(frozen=True)
class Config:
    """Everything needed to rebuild the graphs of a run."""
    model: str
    recipe: Recipe
    steps: int  # the global step at which training is done
    dataset: str = 'cifar10'
    data_dir: Optional[str] = None  # None: the default place
    source: str = 'memory'  # or stream
    seed: int = 1
    deterministic: bool = False
    save_steps: int = 1000
    save_secs: int = 120
    max_to_keep: int = 5
    summary_steps: int = 100
    histogram_steps: int = 1000
    log_steps: int = 100
    intra_op_threads: int = 0  # 0: the best for the engine
    inter_op_threads: int = 0  # 0: the best for the engine
    train_images: int = 50000  # in the dataset: the length of an epoch
    statistics: Tuple[float, ...] = ()  # of the training images: inputs.normalization.fit

    def to_json(self) -> Dict[str, Any]:
        """Return a value that json can write; from_json reads it back."""
        return dict(dataclasses.asdict(self), recipe=self.recipe.to_json())

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> 'Config':
        """Return the Config that to_json wrote; fields added since then take their defaults."""
        fields = dict(value, recipe=Recipe.from_json(value['recipe']),
                      statistics=tuple(value.get('statistics', ())))
        if 'data_set' in fields:  # the field's earlier name
            fields['dataset'] = fields.pop('data_set')
        return cls(**fields)


# The flags that a resumed run may change. The others decide what is trained.
RESUMABLE = ('steps', 'data_dir', 'save_steps', 'save_secs', 'max_to_keep', 'summary_steps',
             'histogram_steps', 'log_steps', 'intra_op_threads', 'inter_op_threads')


def merged_for_resume(config: Config, recipe: Recipe, changes: Mapping[str, Any]) -> Config:
    """Return the Config of a run, resumed with the flags `changes`, {flag: value}.

    `recipe` is the run's with --recipe and --set applied. Raises UsageError if a flag would change
    what is trained.
    """
    for name in sorted(set(changes) & set(vars(config)) - {*RESUMABLE, 'recipe'}):
        if changes[name] != getattr(config, name):
            raise UsageError(f'this run was started with --{name}={getattr(config, name)}, not '
                             f'{changes[name]}: start another run, or leave the flag out')
    fields = recipe.to_json()
    for name, value in config.recipe.to_json().items():
        if fields[name] != value:
            raise UsageError(f'this run was started with another recipe ({name} is {value}, not '
                             f'{fields[name]}): start another run, or leave --recipe and --set out')
    return dataclasses.replace(config, **{n: changes[n] for n in RESUMABLE if n in changes})
