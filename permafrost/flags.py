"""The flags that scripts share, and how a script runs: help, one-line errors, exit codes."""

import dataclasses
import difflib
import functools
import os
import signal
import sys
from typing import Any, Callable, Dict, List, Optional

from absl import app, flags

from permafrost.config import Config
from permafrost.errors import UsageError, UserError, one_line

# Flags defined by the functions below belong to the script that calls them: its --help lists them.
flags.disclaim_key_flags()

HELP_FLAGS = ('-h', '-help', '--help', '-helpshort', '--helpshort')
ALIASES = {'data_set': 'dataset'}  # older names of flags


def define_train_flags() -> None:
    """Define the flags of a training: one for each field of Config, the recipe and the run."""
    default = {field.name: field.default for field in dataclasses.fields(Config)}

    def integer(name: str, help_text: str, lower_bound: int = 0) -> None:
        flags.DEFINE_integer(name, default[name], help_text, lower_bound)

    flags.DEFINE_string('model', 'tuto', 'Model to train. info.py --all lists the models.')
    flags.DEFINE_string('recipe', None, 'Recipe to train with. info.py --recipes lists the '
                        "recipes. Default: the model's own.")
    flags.DEFINE_multi_string('set', [], 'Change a field of the recipe: field=value, e.g. '
                              'learning_rate=0.05')
    flags.DEFINE_integer('steps', None, 'Number of training steps. Default: the length of the '
                         'recipe.', 1)
    define_dataset_flag()
    define_data_dir_flag()
    flags.DEFINE_enum('source', default['source'], ['memory', 'stream'], 'Where batches come from. '
                      'memory: all images are loaded first. stream: images are read from files '
                      'through a shuffle queue.')
    integer('seed', 'Seed for the initial weights, image order, augmentation and dropout.')
    flags.DEFINE_bool('deterministic', False, 'Make the losses of two runs bit-identical. Uses one '
                      'thread, so it is slower. Requires --source=memory.')
    integer('save_steps', 'Save a checkpoint every N steps (0: only every --save_secs).')
    integer('save_secs', 'Save a checkpoint every N seconds (0: only every --save_steps).')
    integer('max_to_keep', 'Number of most recent checkpoints to keep (0 keeps all).')
    integer('summary_steps', 'Write scalar summaries every N steps (0 writes none).')
    integer('histogram_steps', 'Write image and weight histogram summaries every N steps (0 writes '
            'none).')
    integer('log_steps', 'Print progress every N steps when the output is not a terminal.', 1)
    integer('intra_op_threads', "Number of threads within one operation (0: the engine's default).")
    integer('inter_op_threads', "Number of operations to run in parallel (0: the engine's "
            'default).')
    define_run_flags()
    flags.DEFINE_bool('resume', False, "Continue --run, or the model's most recent run. Start a "
                      'new run if there is none.')


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
    flags.DEFINE_enum('mode', None, ['async', 'sync'], 'async (default): each worker applies its '
                      'own updates. sync: the workers split each batch and apply one averaged '
                      'update.')
    flags.DEFINE_integer('backup_workers', None, 'Sync mode: ignore the N slowest workers of each '
                         'step. Default: 0.', 0)
    flags.DEFINE_integer('wait_secs', 600, 'Wait for missing tasks, in seconds, before exiting.', 1)
    flags.DEFINE_bool('allow_public', False, 'Allow public addresses. Use it only behind a '
                      'firewall: docs/cluster.md.')


def define_checkpoint_flags() -> None:
    """Define the flags that choose a checkpoint and its weights."""
    define_run_flags('the most recently used one')
    flags.DEFINE_integer('step', None, 'Step of the checkpoint to use. Default: the last.', 0)
    flags.DEFINE_enum('weights', None, ['averaged', 'raw'], 'Weights to use: their moving average, '
                      'or as trained. Default: averaged if the recipe has an average.')


def uses_frozen_graph(values: flags.FlagValues) -> bool:
    """Return whether the flags name a frozen graph. Raises UsageError if they name a run too."""
    changes = explicitly_set(values)
    if values.graph is None:
        if 'image_size' in changes:
            raise UsageError('--image_size needs --graph')
        return False
    for name in ('run', 'step', 'weights', 'follow', 'profile', 'results'):
        if name in changes:
            raise UsageError(f'--{name} applies to a run: leave it out with --graph')
    return True


def explicitly_set(values: flags.FlagValues) -> Dict[str, Any]:
    """Return {name: value} of the flags that the command line sets."""
    names = {ALIASES.get(name, name) for name in values if values[name].present}
    return {name: values[name].value for name in sorted(names)}


def run_script(main: Callable[..., Optional[int]], max_arguments: int = 0) -> None:
    """Parse the flags, call `main(*arguments)` and exit with the code that it returns (None: 0).

    `main` receives at most `max_arguments` arguments that are not flags. A UserError is printed as
    one line and gives exit code 1 or 2; SIGTERM gives 143, SIGINT 130.
    """
    def guarded(argv: List[str]) -> Optional[int]:
        for number in (signal.SIGTERM, signal.SIGINT):  # until training installs its own handler
            signal.signal(number, lambda number, unused_frame: sys.exit(128 + number))
        try:
            return main(*argv[1:])
        except UserError as error:
            return _print_error(str(error), error.exit_code)
        except OSError as error:
            if error.strerror is None:
                raise
            return _print_error(f"{error.filename or 'system'}: {error.strerror}", 1)

    app.run(guarded, flags_parser=functools.partial(_parse, max_arguments))


def _parse(max_arguments: int, argv: List[str]) -> List[str]:
    """Parse the flags in `argv`; exit with code 2 and one line if one is wrong."""
    script = os.path.relpath(argv[0])
    if any(argument in HELP_FLAGS for argument in argv[1:]):
        print(f'{(sys.modules["__main__"].__doc__ or "").strip()}\n\nflags:')
        print(flags.FLAGS.module_help(argv[0]).split(':\n', 1)[1])
        sys.exit(0)
    try:
        rest = flags.FLAGS(argv)
        if len(rest) > 1 + max_arguments:
            raise flags.Error(f'unexpected argument {rest[1 + max_arguments]!r}; flags begin with '
                              '--')
    except flags.UnrecognizedFlagError as error:
        close = difflib.get_close_matches(error.flagname, list(flags.FLAGS), 1)
        hint = f'; did you mean --{close[0]}?' if close else '.'
        sys.exit(_print_error(f'unknown flag --{error.flagname}{hint} {script} --help lists the '
                              'flags.', 2))
    except flags.Error as error:
        message = one_line(error).replace('flag --', '--')
        sys.exit(_print_error(f'{message} ({script} --help lists the flags)', 2))
    return rest


def _print_error(message: str, code: int) -> int:
    print('error: ' + message, file=sys.stderr, flush=True)
    return code
