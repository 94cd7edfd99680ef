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
    """Define the flags of a training: one for each field of Config, and those of the recipe."""
    default = {field.name: field.default for field in dataclasses.fields(Config)}

    def integer(name: str, help_text: str, lower_bound: int = 0) -> None:
        flags.DEFINE_integer(name, default[name], help_text, lower_bound)

    flags.DEFINE_string('model', 'tuto', 'Model to train. info.py --all lists the models.')
    flags.DEFINE_string('recipe', None, 'How to train. info.py --recipes lists the recipes. '
                        "Default: the model's own.")
    flags.DEFINE_multi_string('set', [], 'field=value: change one field of the recipe, e.g. '
                              'learning_rate=0.05. May be repeated.')
    flags.DEFINE_integer('steps', None, 'Number of training steps. Default: as many as the recipe '
                         'needs for its epochs.', 1)
    define_dataset_flag()
    define_data_dir_flag()
    flags.DEFINE_enum('source', default['source'], ['memory', 'stream'], 'Read batches from memory '
                      '(all images are loaded first) or stream them from files through a shuffle '
                      'queue.')
    integer('seed', 'Seed of weights, image order and augmentation.')
    flags.DEFINE_bool('deterministic', False, 'Make two runs give bit-equal losses. Uses one '
                      'thread, so it is slower.')
    integer('save_steps', 'Save a checkpoint every N steps (0: only by time, see --save_secs).')
    integer('save_secs', 'Save a checkpoint every N seconds (0: only by steps, see --save_steps).')
    integer('max_to_keep', 'Number of most recent checkpoints to keep (0 keeps all).')
    integer('summary_steps', 'Write scalar summaries every N steps (0 writes none).')
    integer('histogram_steps', 'Write image and weight histogram summaries every N steps (0 writes '
            'none).')
    integer('log_steps', 'Print progress every N steps when the output is not a terminal.', 1)
    integer('intra_op_threads', 'Threads within one operation (0: the best for the engine).')
    integer('inter_op_threads', 'Operations to run at once (0: the best for the engine).')


def define_dataset_flag(default: Optional[str] = 'cifar10', more_help: str = '') -> None:
    """Define --dataset; `more_help` follows its help text."""
    flags.DEFINE_string('dataset', default, 'Dataset: cifar10, cifar100, or a directory made by '
                        'tools/make_tfrecords.py.' + more_help)
    flags.DEFINE_alias('data_set', 'dataset')


def define_run_dataset_flags() -> None:
    """Define --dataset and --data_dir for scripts that read the dataset of a run."""
    define_dataset_flag(None, " Default: the run's; for a graph, cifar10.")
    define_data_dir_flag()


def define_data_dir_flag() -> None:
    """Define --data_dir."""
    flags.DEFINE_string('data_dir', None, 'Directory of the dataset. Default: where `make data` '
                        'puts it, or where training found it.')


def define_run_flags() -> None:
    """Define --log_dir and --run."""
    # absl.logging defines a --log_dir of its own, for something else.
    flags.DEFINE_string('log_dir', 'runs', 'Parent of the run directories, <log_dir>/<model>/<n>/.',
                        allow_override=True)
    flags.DEFINE_string('run', None, 'Run directory. Default: a new one for training, else the '
                        'most recently used one.')


def define_resume_flag() -> None:
    """Define --resume."""
    flags.DEFINE_bool('resume', False, "Continue --run, or the model's most recent run. Start a "
                      'run if there is none.')


def define_cluster_flags() -> None:
    """Define the flags that describe a cluster and this process's task in it."""
    flags.DEFINE_list('ps_hosts', [], 'Parameter servers, host:port,... Default: those in '
                      "TF_CONFIG, then in the run's cluster.json.")
    flags.DEFINE_list('worker_hosts', [], 'Workers, host:port,...; the first is the chief.')
    flags.DEFINE_enum('job_name', None, ['ps', 'worker', 'chief', 'evaluator'],
                      'Job of this task. Default: from TF_CONFIG.')
    flags.DEFINE_integer('task_index', None, 'Index of this task within its job, from 0.', 0)
    define_training_cluster_flags()


def define_training_cluster_flags() -> None:
    """Define the flags of a cluster training that all its tasks share."""
    flags.DEFINE_enum('mode', None, ['async', 'sync'], 'async (default): each worker applies its '
                      'own updates. sync: the workers split each batch and apply one averaged '
                      'update.')
    flags.DEFINE_integer('backup_workers', None, 'Sync mode: each step ignores this many slowest '
                         'workers. Default: 0.', 0)
    flags.DEFINE_integer('wait_secs', 600, 'Seconds to wait for missing tasks.', 1)
    flags.DEFINE_bool('allow_public', False, 'Allow public addresses in the cluster.')


def define_checkpoint_flags() -> None:
    """Define the flags that choose a checkpoint and its weights."""
    define_run_flags()
    flags.DEFINE_integer('step', None, 'Step of the checkpoint. Default: the last.', 0)
    flags.DEFINE_enum('weights', None, ['averaged', 'raw'], 'Weights to use. Default: averaged if '
                      'the recipe keeps a moving average.')


def define_graph_flags() -> None:
    """Define the flags that choose a frozen graph instead of a run."""
    flags.DEFINE_string('graph', None, 'Frozen graph, instead of a run.')
    flags.DEFINE_integer('image_size', None, 'With --graph: centre-crop size in pixels, for graphs '
                         "that have only an `inputs` node. Default: that node's shape.", 1)


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
        signal.signal(signal.SIGTERM, _exit_by_signal)
        signal.signal(signal.SIGINT, _exit_by_signal)
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


def _exit_by_signal(signum: int, unused_frame: object) -> None:
    # Nothing needs saving until a training loop installs its own handler.
    raise SystemExit(128 + signum)
