"""The flags that scripts share."""

import contextlib
import dataclasses
import os
import shlex
from typing import Any, Dict, Optional, Union

from absl import flags

import models
from permafrost import runs, schema
from permafrost.config import Config
from permafrost.errors import UsageError, printable, shown
from permafrost.recipes import overrides
from permafrost.recipes.setting_text import whole_number

# Flags defined by the functions below belong to the script that calls them: its --help lists them.
flags.disclaim_key_flags()

# Older names of flags, and those that TensorFlow's label_image has.
ALIASES = {'data_set': 'dataset', 'input_layer': 'node', 'output_layer': 'output'}
GRAPH_FLAGS = ('node', 'output', 'feed', 'image_size', 'crop_size', 'input_width', 'input_height',
               'standardize', 'input_mean', 'input_std', 'output_kind', 'labels')
# Flags without effect on --lr_range_test, which leaves no run.
NOT_FOR_RANGE_TEST = ('run', 'log_dir', 'patience', 'eval_epochs', 'save_steps', 'save_secs',
                      'max_to_keep', 'summary_steps', 'histogram_steps', 'log_steps')


def define_train_flags() -> None:
    """Define the flags of a training: one for each field of Config, the recipe and the run."""
    default = {field.name: field.default for field in dataclasses.fields(Config)}
    limits = {field.name: schema.limits_of(field) for field in dataclasses.fields(Config)}

    def integer(name: str, help_text: str) -> None:
        upper = limits[name].maximum
        flags.DEFINE_integer(name, default[name], help_text, int(limits[name].minimum),
                             int(upper) if upper < schema.ANYTHING.maximum else None)

    flags.DEFINE_string('model', 'tuto', 'Model to train. info.py lists the models.')
    define_recipe_flags()
    _define_transfer_flags()
    flags.DEFINE_integer('steps', None, 'Total number of training steps, counting those before '
                         "--resume. Default: the recipe's length.", 1)
    define_dataset_flag()
    define_data_dir_flag()
    flags.DEFINE_enum('source', default['source'], ['memory', 'stream'], 'Where batches come from. '
                      'memory: all images are loaded first. stream: images are read from files '
                      'through a shuffle queue.')
    integer('seed', 'Seed for the initial weights, image order, augmentation and dropout.')
    flags.DEFINE_bool('deterministic', False, 'Make the losses of two runs bit-identical, on the '
                      'CPU. Uses one thread, unless --intra_op_threads or --inter_op_threads are '
                      'given, so it is slower. Requires --source=memory.')
    integer('validation', 'Hold out N training images, stratified by class and chosen by '
            '--seed. Training evaluates on them, not on the test images, and keeps the best '
            'checkpoint.')
    flags.DEFINE_float('eval_epochs', None, 'Evaluate every N epochs and at the end; 0: never. '
                       'Default: 1; with fewer than 10,000 training images, as many epochs as it '
                       'takes to see 10,000.', 0)
    integer('patience', 'Stop after N evaluations in a row without a better validation accuracy '
            '(0: train to the last step). Requires --validation.')
    integer('save_steps', 'Save a checkpoint every N steps (0: only every --save_secs).')
    integer('save_secs', 'Save a checkpoint every N seconds (0: only every --save_steps).')
    integer('max_to_keep', 'Number of most recent checkpoints to keep (0 keeps all).')
    integer('summary_steps', 'Write scalar summaries every N steps (0 writes none).')
    integer('histogram_steps', 'Write image and weight histogram summaries every N steps (0 writes '
            'none).')
    integer('log_steps', 'Print progress every N steps when the output is not a terminal.')
    integer('intra_op_threads', "Number of threads within one operation (0: the engine's default).")
    integer('inter_op_threads', "Number of operations to run in parallel (0: the engine's "
            'default).')
    define_run_flags()
    flags.DEFINE_bool('resume', False, 'Continue --run, or else the most recently used run (of '
                      '--model, if given). If no such run exists, start a new one; this needs '
                      '--run or --model.')


def _define_transfer_flags() -> None:
    flags.DEFINE_string('init_from', None, 'Start from the weights of a run (its directory), of a '
                        'frozen graph (its file) or of NAME in trained_models/. The last layer '
                        'is re-initialized if the classes differ.')
    flags.DEFINE_string('freeze', None, 'Freeze the variables whose names match this regular '
                        'expression, e.g. "conv|fire". Batch normalization whose moving mean '
                        'matches keeps its moving statistics and normalizes with them.')
    flags.DEFINE_string('teacher', None, 'Teacher for knowledge distillation: a run directory, a '
                        'frozen graph or NAME in trained_models/. It sees the same augmented '
                        'images.')


def define_chart_flags() -> None:
    """Define the flags of train.py that plot a chart instead of training."""
    flags.DEFINE_bool('plot', False, 'Plot the learning rate of the recipe to --output and exit, '
                      'without training.')
    flags.DEFINE_bool('lr_range_test', False, 'Raise the learning rate step by step for --steps '
                      'steps (default: an epoch, at most 500), plot the loss to --output, suggest '
                      'a rate and exit.')
    flags.DEFINE_string('output', None, 'File to write the chart to, a .svg or .png. Default '
                        'for --plot: <recipe>[-<change>...]-learning-rate.png; for '
                        '--lr_range_test: <model>-<recipe>-lr-range.svg.')


def check_chart_flags(values: flags.FlagValues) -> None:
    """Raise UsageError if the flags of define_chart_flags do not go together."""
    if values.output and not (values.plot or values.lr_range_test):
        raise UsageError('--output needs --plot or --lr_range_test; --run names the run')
    if values.plot and values.lr_range_test:
        raise UsageError('--plot and --lr_range_test plot different charts: give one of them')
    if values.resume and values.lr_range_test:
        raise UsageError('--lr_range_test begins with new weights: leave out --resume, and use '
                         '--init_from RUN to begin with those of a run')
    for name in NOT_FOR_RANGE_TEST if values.lr_range_test else ():
        if values[name].present:
            raise UsageError(f'--{name} has no effect with --lr_range_test: leave it out')
    if values.output:
        check_file('output', values.output)


def define_recipe_flags() -> None:
    """Define --recipe, --set and a flag for each field of a recipe, from the field's own text.

    Their values stay text: recipes.overrides checks them, as it does those of --set.
    """
    flags.DEFINE_string('recipe', None, 'Recipe to train with: a name (info.py --recipes lists '
                        'them), a json file, or the directory or config.json of a run. Default: '
                        "the model's own.")
    flags.DEFINE_multi_string('set', [], 'Change a field of the recipe: field=value, e.g. '
                              'learning_rate=0.05')
    for field in overrides.FLAG_FIELDS:
        names = schema.limits_of(field).names
        choices = f" One of: {', '.join(names)}." if names else ''
        flags.DEFINE_string(field.name, None, field.metadata['text'] + choices)


def define_dataset_flag(default: Optional[str] = 'cifar10', more_help: str = '') -> None:
    """Define --dataset; `more_help` follows its help text."""
    flags.DEFINE_string('dataset', default, 'Dataset: cifar10, cifar100, or a directory made by '
                        'tools/make_tfrecords.py.' + more_help)
    flags.DEFINE_alias('data_set', 'dataset')


def define_run_dataset_flags(more_help: str = '') -> None:
    """Define --dataset and --data_dir for scripts that read the dataset of a run."""
    define_dataset_flag(None, " Default: the run's." + more_help)
    define_data_dir_flag()


def define_data_dir_flag() -> None:
    """Define --data_dir."""
    flags.DEFINE_string('data_dir', None, 'Directory of the dataset. Default: where `make data` '
                        'puts it; for a run, the one that training used.')


def define_run_flags(default_run: str = 'a new one') -> None:
    """Define --log_dir and --run; `default_run` says in the help text which run is the default."""
    # absl.logging defines a --log_dir of its own, for something else.
    flags.DEFINE_string('log_dir', 'runs', 'Parent of the run directories, <log_dir>/<model>/<n>/.',
                        allow_override=True)
    flags.DEFINE_string('run', None, f'Run directory. Default: {default_run}.')


def define_training_cluster_flags() -> None:
    """Define the flags of a cluster training that all its tasks share."""
    flags.DEFINE_enum('mode', None, ['async', 'sync'], 'async: each worker applies its own '
                      'updates. sync: the workers split each batch and apply one averaged update. '
                      'Default: the mode of the resumed run, or else async.')
    flags.DEFINE_integer('backup_workers', None, 'Sync mode: ignore the N slowest workers of each '
                         'step. Default: 0.', 0)
    flags.DEFINE_integer('wait_secs', 600, 'Wait N seconds for missing tasks, then exit.', 1)
    flags.DEFINE_bool('overwrite', False, 'Discard the run that the servers hold and start this '
                      'one. Only for the chief.')
    flags.DEFINE_bool('allow_public', False, 'Allow public addresses. Use it only behind a '
                      'firewall: docs/cluster.md.')


class StepParser(flags.ArgumentParser):
    """Parses the step of a checkpoint: a number, or 'best'."""
    syntactic_help = "a whole number, or 'best'"

    def parse(self, argument: Any) -> Union[int, str]:
        """Return the step. Raises ValueError."""
        if argument == 'best':
            return argument
        with contextlib.suppress(ValueError):
            step = argument if isinstance(argument, int) else whole_number(argument)
            if step >= 0:
                return step
        raise ValueError("give a whole number of 0 or more, or 'best'")


def define_checkpoint_flags() -> None:
    """Define the flags that choose a checkpoint and its weights."""
    define_run_flags('the most recently used one')
    flags.DEFINE(StepParser(), 'step', None, 'Step of the checkpoint to use, or best: that of the '
                 'best validation accuracy. Default: the last.')
    flags.DEFINE_enum('weights', None, ['averaged', 'raw'], 'averaged: the moving average of the '
                      'weights; raw: the last weights. Default: averaged if the recipe keeps an '
                      'average.')


def define_graph_flags() -> None:
    """Define the flags that state how a frozen graph is run, as label_image has them.

    label_image checks their values, and so does evaluation.frozen_graphs.
    """
    def text(name: str, help_text: str) -> None:
        flags.DEFINE_string(name, None, 'With --graph: ' + help_text)

    text('node', 'node to feed. Default: images, inputs, or the only placeholder.')
    text('output', 'node to fetch. Default: predictions, probabilities, or the only output.')
    flags.DEFINE_multi_string('feed', [], 'With --graph: NAME=VALUE of another placeholder, such '
                              'as keep_prob=1 or is_training=false')
    for name, what in (
            ('image_size', 'side of the images that the graph receives, if the graph leaves it '
             'open; with --crop_size: of the images before the crop. In pixels.'),
            ('crop_size', 'side of the central crop that the graph receives, if the graph leaves '
             'it open.'),
            ('input_width', 'width of the images that the graph receives, if the graph leaves it '
             'open.'),
            ('input_height', 'height of the images that the graph receives, if the graph leaves '
             'it open.')):
        flags.DEFINE_integer(name, None, 'With --graph: ' + what, 1, 10000)
    text('standardize', 'how pixels become floats: per_image (mean 0, standard deviation 1) or '
         'none (0 to 255). Default: none.')
    text('input_mean', 'how pixels become floats: (x - mean) / std; one number, or R,G,B. '
         'Default: 0.')
    text('input_std', 'see --input_mean. Default: 1.')
    text('output_kind', 'meaning of the output: logits, softmax, sigmoid or raw. Default: as '
         'the graph says.')
    text('labels', 'file of class names, one per line. Default: those in the graph.')
    for alias in ('input_layer', 'output_layer'):
        flags.DEFINE_alias(alias, ALIASES[alias])


def uses_frozen_graph(values: flags.FlagValues) -> bool:
    """Return whether the flags name a frozen graph. Raises UsageError if they name a run too."""
    changes = explicitly_set(values)
    if values.graph is None:
        for name in (*GRAPH_FLAGS, 'allow_any_op', 'runtime'):
            if name in changes:
                raise UsageError(f'--{name} needs --graph')
        return False
    for name in ('run', 'step', 'weights', 'follow', 'profile', 'results'):
        if name in changes:
            raise UsageError(f'--{name} applies to a run: leave it out with --graph')
    return True


def explicitly_set(values: flags.FlagValues) -> Dict[str, Any]:
    """Return {name: value} of the flags that the command line sets."""
    names = {ALIASES.get(name, name) for name in values if values[name].present}
    return {name: values[name].value for name in sorted(names)}


def unexpected_argument(argument: str, values: flags.FlagValues, otherwise: str) -> str:
    """Return the error for a stray `argument`: the flag that it belongs to, or `otherwise`."""
    for name, is_meant in (('run', runs.exists(argument)),
                           ('graph', argument.endswith(('.pb', '.tflite', '.onnx'))),
                           ('model', argument in models.ALL)):
        if is_meant and name in values:
            otherwise = f'use --{name} {shlex.quote(argument)}'
            break
    return f'unexpected argument {shown(argument)}; {otherwise}'


def check_file(name: str, path: str) -> None:
    """Raise UsageError if the flag `name` names no file that can be written: `path`."""
    is_other = os.path.exists(path) and not os.path.isfile(path)  # such as /dev/stdout
    if is_other or path == '-' or not os.path.isdir(os.path.dirname(os.path.abspath(path))):
        raise UsageError(f'--{name}={printable(path)}: name a file, in a folder that exists')
