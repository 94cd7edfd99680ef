"""How a script runs: its flags and help, errors in one line, exit codes, signals."""

import difflib
import errno
import functools
import logging
import os
import re
import sys
from typing import Callable, List, Optional

from absl import app, flags

from permafrost.cli import commands, console
from permafrost.cli.ending_signals import (
    exit_if_signalled,
    exit_on_ending_signals,
    on_ending_signals,
)
from permafrost.errors import OUT_OF_MEMORY, UsageError, UserError, one_line, printable
from permafrost.flags import explicitly_set, unexpected_argument, whole_number
from permafrost.recipes import overrides

HELP_FLAGS = ('-h', '-help', '--help', '-helpshort', '--helpshort')
# Names of our flags in other programs; overrides.SYNONYMS has the fields of recipes.
SYNONYMS = {
    **dict.fromkeys(('max_steps', 'num_steps', 'train_steps', 'iterations'), 'steps'),
    **dict.fromkeys(('arch', 'network', 'net'), 'model'),
    **dict.fromkeys(('data', 'data_path', 'dataset_dir'), 'data_dir'),
    **dict.fromkeys(('train_dir', 'model_dir', 'output_dir', 'checkpoint', 'checkpoint_dir', 'ckpt',
                     'run_dir'), 'run')}
# Titles of --help, and the flags below them; the others come first.
HELP_GROUPS = {
    'recipe (each flag overrides one field; --set field=value is equivalent)': [
        'recipe', 'set', *(field.name for field in overrides.FLAG_FIELDS)],
    'evaluation while training': ['validation', 'eval_epochs', 'patience'],
    'checkpoints and progress': ['save_steps', 'save_secs', 'max_to_keep', 'summary_steps',
                                 'histogram_steps', 'log_steps']}
GPU_NAMES = ('gpu', 'num_gpu', 'gpu_id', 'device', 'cuda')


def run_script(main: Callable[..., Optional[int]], max_arguments: int = 0,
               prints_result: bool = False) -> None:
    """Parse the flags, call `main(*arguments)` and exit with the code that it returns (None: 0).

    `main` receives at most `max_arguments` arguments that are not flags. A UserError is printed as
    one line and gives exit code 1 or 2; so does running out of memory, with code 1. A signal gives
    128 plus its number. Lost output does not stop the script; it gives exit code 1 if
    `prints_result`, that is if it is all that the script makes.
    """
    console.install()
    # On its very first import, matplotlib looks for the fonts of the machine, and warns that this
    # takes a moment.
    logging.getLogger('matplotlib').setLevel(logging.ERROR)

    def guarded(argv: List[str]) -> int:
        exit_on_ending_signals()  # until training installs its own handler
        try:
            code = _call(main, argv[1:])
        except UserError as error:
            code = _print_error(str(error), error.exit_code)
        except OSError as error:
            if error.strerror is None:
                raise
            code = _print_error(f"{error.filename or 'system'}: {error.strerror}", 1)
        except Exception as error:
            # TensorFlow's, known by its name: most scripts run without importing TensorFlow.
            if type(error).__name__ != 'ResourceExhaustedError' and not isinstance(
                    error, MemoryError):
                raise
            is_disk = os.strerror(errno.ENOSPC) in str(error)
            code = _print_error(one_line(error) if is_disk else OUT_OF_MEMORY, 1)
        code = code or int(console.report_lost() and prints_result)
        on_ending_signals(lambda number, unused_frame: os._exit(code))  # the work is done
        return code

    app.run(guarded, flags_parser=functools.partial(_parse, max_arguments))


def _call(main: Callable[..., Optional[int]], arguments: List[str]) -> int:
    """Return the exit code of main(*arguments). An error after a signal is a consequence of it."""
    try:
        return main(*arguments) or 0
    except Exception:
        exit_if_signalled()
        raise


def _parse(max_arguments: int, argv: List[str]) -> List[str]:
    """Parse the flags in `argv`; exit with code 2 and one line if one is wrong."""
    if any(argument in HELP_FLAGS for argument in argv[1:]):
        print((sys.modules['__main__'].__doc__ or '').strip() + _help(argv[0]))
        sys.exit(0)
    for name in flags.FLAGS:
        if type(flags.FLAGS[name].parser) is flags.IntegerParser:
            flags.FLAGS[name].parser.convert = whole_number
    try:
        rest = flags.FLAGS(argv)
        if len(rest) > 1 + max_arguments:
            raise flags.Error(unexpected_argument(rest[1 + max_arguments], flags.FLAGS,
                                                  'flags begin with --'))
        for name, value in explicitly_set(flags.FLAGS).items():
            if isinstance(value, str):
                flags.FLAGS[name].value = expanded(f'--{name}', value)
            elif isinstance(value, list) and not name.endswith('_hosts'):  # a cluster may lack ps
                flags.FLAGS[name].value = [expanded(f'--{name}', each) for each in value or ['']]
        return rest[:1] + [expanded('an argument', value) for value in rest[1:]]
    except flags.UnrecognizedFlagError as error:
        hint = _hint(error.flagname, argv)
        sys.exit(_print_error(f'unknown flag --{error.flagname}{hint} ({_help_command(argv[0])} '
                              'lists the flags)', 2))
    except (flags.Error, UsageError) as error:
        message = one_line(error).replace('flag --', '--')
        sys.exit(_print_error(f'{message} ({_help_command(argv[0])} lists the flags)', 2))


def _help_command(script: str) -> str:
    try:
        return commands.next_command(os.path.relpath(script, commands.ROOT), '--help')
    except FileNotFoundError:  # the working directory has been removed
        return f'{script} --help'


def _help(script: str) -> str:
    """Return the help texts of the flags of `script`, in HELP_GROUPS."""
    text = flags.FLAGS.module_help(script).partition(':\n')[2]  # '' if it has none
    texts = {re.findall(r'--(?:\[no\])?(\w+)', each)[0]: each.rstrip()
             for each in re.split(r'\n(?=  --)', text) if each.strip()}
    groups = {title: [texts.pop(name) for name in names]
              for title, names in HELP_GROUPS.items() if set(names) <= set(texts)}
    return ''.join(f'\n\n{title}:\n' + '\n'.join(entries) for title, entries in
                   {'flags': list(texts.values()), **groups}.items())


def expanded(name: str, value: str) -> str:
    """Return the `value` of a flag or an argument with the home directory in place of ~.

    Shells do not replace it after `=`. Raises UsageError if `value` is empty, as it is if a
    variable of the shell is not set, or if there is no such user.
    """
    if not value:
        raise UsageError(f'{name} is empty: leave it out, or give it a value')
    path = os.path.expanduser(value)
    if value.startswith('~') and path == value:
        raise UsageError(f'{name}: no home directory {printable(value.split("/")[0])}; a file of '
                         f'that name is ./{printable(value)}')
    return path


def _hint(name: str, argv: List[str]) -> str:
    """Return what to use instead of the unknown flag `name` of `argv`; '' if nothing is known."""
    own = {flag.name for flag in flags.FLAGS.get_key_flags_for_module(argv[0])}
    field, meant = overrides.field_meant(name), SYNONYMS.get(name)
    if 'set' in own and field in own:
        words = ' '.join(argv).replace('=', ' ').split()
        value = dict(zip((word.lstrip('-') for word in words), words[1:])).get(name, '--')
        return f': use --{field}={"..." if value.startswith("--") else value}'
    if meant in own:
        return f': use --{meant}'
    close = difflib.get_close_matches(name, own, 1)
    if close:
        return f'; did you mean --{close[0]}?'
    return ': TensorFlow uses a GPU if it can' if name.strip('s') in GPU_NAMES else ''


def _print_error(message: str, code: int) -> int:
    print('error: ' + printable(message), file=sys.stderr, flush=True)
    return code
