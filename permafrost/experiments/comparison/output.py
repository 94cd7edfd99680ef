"""The output of compare.py: on the terminal, and the files that its flags name."""

import os
from typing import Any, Callable, Dict, Sequence

from absl import flags

from permafrost import files
from permafrost.errors import UsageError, UserError
from permafrost.experiments.comparison import compare, formats, run_list
from permafrost.experiments.comparison.table import Comparison
from permafrost.experiments.reports import comparison_page
from permafrost.flags import check_file, explicitly_set

flags.disclaim_key_flags()

TEXTS: Dict[str, Callable[[Comparison], str]] = {
    'csv': formats.csv_text, 'json': formats.json_text,
    'markdown': lambda comparison: '\n'.join(formats.markdown_table(comparison)) + '\n',
    'html': comparison_page.page}


def define_flags() -> None:
    """Define the flags of compare.py."""
    flags.DEFINE_string('log_dir', 'runs', 'Folder of the runs to compare or list, if no argument '
                        'names any.', allow_override=True)
    flags.DEFINE_bool('list', False, 'List the runs, one per line: state, model, changes from the '
                      'recipe, step, accuracy and age.')
    flags.DEFINE_string('baseline', None, 'Row that the others are compared with: a variant, or a '
                        "run. Default: a study's baseline, else the first that has an accuracy.")
    flags.DEFINE_enum('split', None, ['test', 'validation'], 'Split to compare on. '
                      'Default: validation if all the runs held images out, else test.')
    flags.DEFINE_bool('by_run', False, 'Give each run a row of its own, instead of one row for the '
                      'seeds of a variant.')
    flags.DEFINE_bool('measure', True, 'Evaluate finished runs that are not evaluated, freeze a '
                      'run of each row, and time it in C++.')
    for name, text in (('csv', 'one line per row, with all numbers'),
                       ('json', 'everything, with the learning curves; make readme reads '
                        'results/studies/*.json'),
                       ('markdown', 'a table of six columns'),
                       ('html', 'one page with tables and charts, to open in a browser')):
        flags.DEFINE_string(name, None, f'Also write this file: {text}.')


def show(values: Any, arguments: Sequence[str]) -> None:
    """Print what the flags `values` of compare.py ask for. Raises UserError."""
    arguments = arguments or [values.log_dir]
    if values.list:
        for name in (*TEXTS, 'baseline', 'split', 'by_run'):
            if name in explicitly_set(values):
                raise UsageError(f'--{name} has no effect with --list: leave one of them out')
        print(run_list.list_runs(arguments))
        return
    paths = {name: values[name].value for name in TEXTS if values[name].value}
    for name, path in paths.items():
        check_file(name, path)
    paths = {name: files.link_target(path) for name, path in paths.items()}
    if len(set(map(os.path.realpath, paths.values()))) < len(paths):
        raise UsageError(f"--{' and --'.join(paths)} name one file twice: name a file for each")
    comparison = compare.compare(arguments, values.baseline, values.split, values.by_run,
                                 values.measure)
    print(formats.text(comparison), flush=True)
    for name, path in paths.items():
        try:
            files.write_atomically(path, TEXTS[name](comparison))
        except ImportError as error:
            raise UserError(f'--{name} needs {error.name}, which is missing: make setup installs '
                            'it')
        except OSError as error:
            raise UserError(f'cannot write {path} ({error.strerror}): name another --{name}')
        print(f'{name}: {path}')
