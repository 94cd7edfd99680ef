"""Config: everything that decides a training, as one value; json out and in.

Nothing here imports TensorFlow: threads are chosen before it is imported.
"""

import dataclasses
from typing import Any, Dict, Mapping, Optional, Tuple

import models
from permafrost import schema
from permafrost.errors import UsageError
from permafrost.recipes import checks
from permafrost.recipes.param_groups import is_safe_pattern
from permafrost.recipes.recipe import Recipe
from permafrost.recipes.setting_text import to_text
from permafrost.schema import limited


@dataclasses.dataclass(frozen=True)
class Config:
    """Everything needed to rebuild the graphs of a run."""
    model: str = limited(names=models.ALL)
    recipe: Recipe = limited(hint=Dict[str, Any])
    steps: int = limited(minimum=0)  # the global step at which training is done
    dataset: str = limited('cifar10', earlier='data_set')
    data_dir: Optional[str] = None  # None: the default place
    source: str = limited('memory', names=('memory', 'stream'))
    seed: int = limited(1, minimum=0)
    deterministic: bool = False
    save_steps: int = limited(1000, minimum=0)
    save_secs: int = limited(120, minimum=0)
    max_to_keep: int = limited(5, minimum=0)
    summary_steps: int = limited(100, minimum=0)
    histogram_steps: int = limited(1000, minimum=0)
    log_steps: int = limited(100, minimum=1)
    intra_op_threads: int = limited(0, minimum=0, maximum=1024)  # 0: the best for the engine
    inter_op_threads: int = limited(0, minimum=0, maximum=1024)  # 0: the best for the engine
    validation: int = limited(0, minimum=0)  # images held out of the training set
    eval_epochs: float = limited(0., minimum=0)  # between two evaluations; 0: none while training
    patience: int = limited(0, minimum=0)  # evaluations without a better one; 0: never stop early
    init_from: Optional[str] = None  # run, frozen graph or model: where the first weights are from
    # variables that are not trained: a regular expression, searched for in their names
    freeze: Optional[str] = limited(None, count=(1, 200), test=is_safe_pattern,
                                    meaning='a regular expression with few repetitions')
    teacher: Optional[str] = None  # run, frozen graph or shipped model to learn from
    # Averages include the moving statistics of batch normalization. Runs made before this field
    # average only the weights.
    average_statistics: bool = False
    # compute_dtype of the steps before it was changed: 'bfloat16 to step 500'
    earlier_compute_dtype: Optional[str] = None
    train_images: int = limited(50000, minimum=1)  # without those held out: the length of an epoch
    # of the training images: inputs.normalization.fit
    statistics: Tuple[float, ...] = limited((), minimum=-1e6, maximum=1e6, count=(0, 10**8))

    def epoch_of(self, step: int) -> float:
        """Return the epochs of training images that the first `step` steps see."""
        return step * self.recipe.batch_size / self.train_images

    def to_json(self) -> Dict[str, Any]:
        """Return a value that json can write; from_json reads it back."""
        return dict(dataclasses.asdict(self), recipe=self.recipe.to_json(),
                    statistics=list(self.statistics))

    @classmethod
    def from_json(cls, value: Any, where: str = '') -> 'Config':
        """Return the Config that to_json wrote; fields added since then take their defaults.

        Raises UsageError; its line names the field, in `where`.
        """
        fields = schema.check(value, cls, where, closed=True)
        recipe = Recipe.from_json(fields['recipe'], schema.join(where, 'recipe'))
        checks.check(recipe)
        return cls(**dict(fields, recipe=recipe, statistics=tuple(fields.get('statistics', ()))))


# The flags that a resumed run may change; the others decide what is trained. It may also change
# --compute_dtype, since the processor that it is resumed on may lack bfloat16.
RESUMABLE = ('steps', 'data_dir', 'save_steps', 'save_secs', 'max_to_keep', 'summary_steps',
             'histogram_steps', 'log_steps', 'intra_op_threads', 'inter_op_threads', 'eval_epochs',
             'patience')


def merged_for_resume(config: Config, recipe: Recipe, changes: Mapping[str, Any]) -> Config:
    """Return the Config of a run, resumed with the flags `changes`, {flag: value}.

    `recipe` is the run's with --recipe and --set applied. Raises UsageError if a flag would change
    what is trained.
    """
    for name in sorted(set(changes) & set(vars(config)) - {*RESUMABLE, 'recipe'}):
        if changes[name] != getattr(config, name):
            before = getattr(config, name)
            flag = (f'without --{name}' if before is None else
                    f'with --{name}={before}, not {changes[name]}')
            raise UsageError(f'this run was started {flag}: start another run, or leave the flag '
                             'out')
    fields = recipe.to_json()
    differences = [f'{name} is {to_text(value)}, not {to_text(fields[name])}'
                   for name, value in config.recipe.to_json().items()
                   if fields[name] != value and name != 'compute_dtype']
    if differences:
        raise UsageError('this run was started with a different recipe '
                         f"({'; '.join(differences)}): start another run, or leave these flags out")
    same = dataclasses.replace(config.recipe, compute_dtype=recipe.compute_dtype)
    return dataclasses.replace(config, recipe=same,
                               **{n: changes[n] for n in RESUMABLE if n in changes})


def with_earlier_compute_dtype(config: Config, previous: Config, step: int) -> Config:
    """Return `config`, with which a run continues at `step`, with its earlier compute_dtype.

    `previous` is the run's Config until now. A finished run keeps its compute_dtype.
    """
    before = previous.recipe.compute_dtype
    if not step or before == config.recipe.compute_dtype:
        return config
    if step >= config.steps:
        recipe = dataclasses.replace(config.recipe, compute_dtype=before)
        return dataclasses.replace(config, recipe=recipe)
    earlier = [previous.earlier_compute_dtype] if previous.earlier_compute_dtype else []
    earlier.append(f'{before} to step {step}')
    return dataclasses.replace(config, earlier_compute_dtype=', '.join(earlier))
