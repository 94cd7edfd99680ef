"""The places of the files that freeze_graph.py writes, checked before the slow part.

Importing this module does not import TensorFlow, so that a wrong flag fails at once.
"""

import os

from permafrost import files, runs
from permafrost.errors import UsageError, UserError, printable


def check_suffix(output: str) -> None:
    """Raise UsageError if `output`, whose name the other formats get, does not end in .pb."""
    if os.path.splitext(output)[1] != '.pb':
        raise UsageError(f'--output must end in .pb, not {output!r}; other formats get its name')


def description_path(output: str, model: str) -> str:
    """Return the path of the json file that describes the frozen graph `output` of `model`.

    Raises UsageError if `output` does not end in .pb, is a directory or the teacher of a run, or if
    that json file is something else, such as the config.json of a run.
    """
    check_suffix(output)
    run, name = os.path.split(output)
    if name == runs.TEACHER and runs.exists(run):
        raise UsageError(f"{output} is the name of a run's copy of its teacher: name another "
                         '--output')
    if os.path.isdir(output):
        raise UsageError(f'{output} is a directory: name a file, e.g. --output '
                         f"{os.path.join(output, model + '.pb')}")
    if os.path.exists(output) and not os.path.isfile(output):
        raise UsageError(f'{printable(output)} is not a regular file: name another --output')
    path = os.path.splitext(output)[0] + '.json'
    if os.path.lexists(path):
        try:
            is_description = 'sha256' in files.read_json(path)
        except (OSError, TypeError, ValueError):
            is_description = False
        if not is_description:
            raise UsageError(f'{path} would be overwritten, and does not describe a frozen '
                             'graph: name another --output')
    return path


def check_new(saved_model: str) -> None:
    """Raise UserError if `saved_model` exists. TensorFlow Serving needs a number as its name."""
    if os.path.lexists(saved_model):
        folder, name = os.path.split(os.path.normpath(saved_model))
        number = int(name) if name.isdigit() else 1
        while os.path.lexists(os.path.join(folder, str(number))):
            number += 1
        raise UserError(f'{saved_model} exists: name another --saved_model, e.g. '
                        f'{os.path.join(folder, str(number))}')
