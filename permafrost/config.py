"""Config: the one value that travels; its flags; json in and out.

Nothing here imports TensorFlow: threads are chosen before it is imported.
"""

import dataclasses
import difflib
import json
import os
import sys
import tempfile
from typing import Optional, Tuple

from absl import flags


class UserError(Exception):
    """What the user can mend. The message is one line: what, where, what to do."""
    exit_code = 1


class UsageError(UserError):
    """A flag or an argument that cannot be meant."""
    exit_code = 2


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


@dataclasses.dataclass(frozen=True)
class Config:
    """Everything needed to rebuild the graphs of a run.

    `data_dir` is None for the default place. Threads of 0 mean "as measured for the engine".
    """
    model: str
    recipe: Recipe
    steps: int  # the global step at which training is done
    data_set: str = 'cifar10'
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
        recipe = {name: tuple(field) if isinstance(field, list) else field
                  for name, field in value['recipe'].items()}
        return cls(**dict(value, recipe=Recipe(**recipe),
                          statistics=tuple(value.get('statistics', ()))))


# What a resumed run may change; the rest decides what is trained and stays.
RESUMABLE = ('steps', 'data_dir', 'save_steps', 'save_secs', 'max_to_keep', 'summary_steps',
             'histogram_steps', 'log_steps', 'intra_op_threads', 'inter_op_threads')


def define_train_flags():
    """The absl flags of a training: one a field of Config, and the recipe's."""
    script = sys.argv[0]  # so that --help shows them as the script's own
    default = {field.name: field.default for field in dataclasses.fields(Config)}

    def integer(name, help_text, lower_bound=0):
        flags.DEFINE_integer(name, default[name], help_text, lower_bound, module_name=script)

    flags.DEFINE_string('model', 'tuto', 'Model to train; info.py --all lists them.',
                        module_name=script)
    flags.DEFINE_string('recipe', None, "How to train; info.py --recipes lists them. Default: "
                        "the model's own.", module_name=script)
    flags.DEFINE_multi_string('set', [], 'field=value: changes one field of the recipe, such '
                              'as learning_rate=0.05; may be repeated.', module_name=script)
    flags.DEFINE_integer('steps', None, "Global step at which training is done. Default: the "
                         "recipe's number of images.", 1, module_name=script)
    define_data_set()
    define_data_dir()
    flags.DEFINE_enum('source', default['source'], ['memory', 'stream'], 'Where batches come '
                      'from: all images in memory, or files read through a shuffling queue.',
                      module_name=script)
    integer('seed', 'Seed of weights, order and distortions.')
    flags.DEFINE_bool('deterministic', False, 'Two runs give bit-equal losses (one thread, '
                      'slower).', module_name=script)
    integer('save_steps', 'Steps between checkpoints; 0: not by steps.')
    integer('save_secs', 'Seconds between checkpoints; 0: not by time.')
    integer('max_to_keep', 'Newest checkpoints kept; 0: all.')
    integer('summary_steps', 'Steps between scalar summaries; 0: none.')
    integer('histogram_steps', 'Steps between images and weight histograms; 0: none.')
    integer('log_steps', 'Steps between lines of progress where there is no terminal.', 1)
    integer('intra_op_threads', "Threads within an operation; 0: the engine's best.")
    integer('inter_op_threads', "Operations at a time; 0: the engine's best.")


def define_data_set(default='cifar10', more=''):
    """The flag --data_set; `more` is said after what it takes."""
    flags.DEFINE_string('data_set', default, 'Data set: cifar10, cifar100, or a directory that '
                        'tools/make_tfrecords.py made.' + more, module_name=sys.argv[0])


def define_run_data():
    """The flags that say where the data set of a run is: --data_set and --data_dir."""
    define_data_set(None, ' Default: that of the run; of a graph cifar10.')
    define_data_dir()


def define_data_dir():
    """The flag --data_dir, of training and evaluation alike."""
    flags.DEFINE_string('data_dir', None, 'Directory of the data set. Default: where make data '
                        'puts it, or where the training found it.', module_name=sys.argv[0])


def define_run_flags():
    """The flags that say which run directory: --log_dir and --run."""
    # absl.logging has a --log_dir of its own, for something else.
    flags.DEFINE_string('log_dir', 'runs', 'Runs are in <log_dir>/<model>/<n>/.',
                        module_name=sys.argv[0], allow_override=True)
    flags.DEFINE_string('run', None, 'Run directory. Default: training makes a new one, '
                        'everything else takes the one used last.', module_name=sys.argv[0])


def define_resume():
    """The flag --resume, of trainings."""
    flags.DEFINE_bool('resume', False, "Continue --run, or the model's newest run; where there is "
                      'none, start it.', module_name=sys.argv[0])


def define_cluster_flags():
    """The flags that say which cluster, and which task of it this process is."""
    script = sys.argv[0]
    flags.DEFINE_list('ps_hosts', [], 'Parameter servers, host:port,... Default: those of '
                      "TF_CONFIG, then of the run's cluster.json.", module_name=script)
    flags.DEFINE_list('worker_hosts', [], 'Workers, host:port,...; the first is the chief.',
                      module_name=script)
    flags.DEFINE_enum('job_name', None, ['ps', 'worker', 'chief', 'evaluator'], 'What this task '
                      'is; default: what TF_CONFIG says.', module_name=script)
    flags.DEFINE_integer('task_index', None, 'Its number among them, from 0.', 0,
                         module_name=script)
    define_training_cluster_flags()


def define_training_cluster_flags():
    """The flags of a cluster's training, the same for all tasks."""
    script = sys.argv[0]
    flags.DEFINE_enum('mode', None, ['async', 'sync'], 'async (default): each worker updates when '
                      'it is ready; sync: one update of all, who part the batch.',
                      module_name=script)
    flags.DEFINE_integer('backup_workers', None, 'Of --mode sync: workers a step does not wait '
                         'for. Default: 0.', 0, module_name=script)
    flags.DEFINE_integer('wait_secs', 600, 'Seconds to wait for tasks that are missing.', 1,
                         module_name=script)
    flags.DEFINE_bool('allow_public', False, 'Let addresses of the cluster be public.',
                      module_name=script)


def define_checkpoint_flags():
    """The flags that say which weights: those of define_run_flags, --step and --weights."""
    define_run_flags()
    flags.DEFINE_integer('step', None, 'Step of the checkpoint; default: the last.', 0,
                         module_name=sys.argv[0])
    flags.DEFINE_enum('weights', None, ['averaged', 'raw'], 'Which weights; default: averaged '
                      'where the recipe keeps averages.', module_name=sys.argv[0])


def define_graph_flags():
    """The flags that say which frozen graph to evaluate, in place of a run."""
    flags.DEFINE_string('graph', None, 'A frozen graph, in place of a run.',
                        module_name=sys.argv[0])
    flags.DEFINE_integer('image_size', None, 'With --graph, the side of the centre that a graph '
                         'without a node `images` takes. Default: what it says.', 1,
                         module_name=sys.argv[0])


def of_graph(values):
    """Whether the flags `values` name a frozen graph. Raises UsageError where a run as well."""
    changes = given(values)
    for_run = [name for name in ('run', 'step', 'weights', 'follow', 'profile', 'results')
               if name in changes]
    if values.graph is None and 'image_size' in changes:
        raise UsageError('--image_size goes with --graph')
    if values.graph is not None and for_run:
        raise UsageError('--%s goes with a run, not with --graph' % for_run[0])
    return values.graph is not None


def given(values):
    """{name: value} of the flags in `values` (FLAGS) that the command line gave."""
    return {name: values[name].value for name in values if values[name].present}


def resumed(old, recipe, changes):
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


def nearest(kind, name, known):
    """A UsageError for an unknown `name` that lists the `known` ones and the likeliest."""
    known = sorted(known)
    likely = difflib.get_close_matches(name, known, 1, 0.5)
    hint = '; did you mean %s?' % likely[0] if likely else ''
    return UsageError('unknown %s %r%s (there are: %s)' % (kind, name, hint, ', '.join(known)))


def write_atomically(path, content):
    """Writes `content`, text or bytes, to a temporary file beside `path`, then renames it."""
    write_together({path: content})


def write_together(contents):
    """Writes files, {path: content}: all of them beside where they go, then renames each."""
    written = {}
    try:
        for path, content in contents.items():
            folder, name = os.path.split(os.path.abspath(path))
            handle, written[path] = tempfile.mkstemp(dir=folder, prefix='.' + name)
            with os.fdopen(handle, 'wb') as stream:
                stream.write(content if isinstance(content, bytes) else content.encode())
                stream.flush()
                os.fsync(stream.fileno())
            os.chmod(written[path], 0o644)
        for path in contents:
            os.replace(written[path], path)
            del written[path]
    finally:
        for temporary in written.values():
            os.unlink(temporary)


def json_text(value):
    """`value` as indented json."""
    return json.dumps(value, indent=2, sort_keys=True) + '\n'


def write_json(path, value):
    """Writes `value` atomically as indented json."""
    write_atomically(path, json_text(value))
