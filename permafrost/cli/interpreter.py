"""The Python that runs a script. Each script calls `check` before it imports anything else.

This file parses on any Python, so that a wrong one ends in a line instead of a stack trace: no type
hints, no f-strings. It takes no time if the Python is right.
"""

import os
import signal
import sys

ROOT = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..'))
NEEDED = ('absl', 'numpy', 'PIL', 'tqdm', 'tensorflow')
PACKAGES = NEEDED + ('google',)  # that other Pythons often have
STARTED_AGAIN = 'PERMAFROST_STARTED_AGAIN'


def check():
    """Start this script again in .venv/$ENGINE or .venv/default if this Python cannot run it.

    If there is no environment, or something hides its packages, exit with 1 and one line.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # no stack trace of the imports
    started_again = os.environ.pop(STARTED_AGAIN, None)
    # tools/setup.sh writes this file. Other Pythons with the packages may be right too.
    own = os.path.exists(os.path.join(sys.prefix, '.complete'))
    if own:
        _ignore_pythonpath()
        if sys.version_info < (3, 8) and sys.flags.optimize > 1:
            os.environ['PYTHONOPTIMIZE'] = '1'
            _start_again(sys.executable, 'TensorFlow 1.15 needs docstrings: PYTHONOPTIMIZE=2 is '
                                         'ignored')
    problem = _problem(own)
    if not problem:
        return
    engine = os.environ.get('ENGINE', '')
    python = os.path.join(ROOT, '.venv', engine or 'default', 'bin', 'python')
    # Not another environment, such as lint, that happens to be active.
    is_engine = own and os.path.basename(os.path.realpath(sys.prefix)).startswith(('tf1', 'tf2'))
    if is_engine or started_again:
        _exit(problem + ': run make doctor in ' + ROOT)
    if not os.access(python, os.X_OK):
        _exit(problem + ': run make setup' + (engine and ' ENGINE=' + engine) + ' in ' + ROOT)
    os.environ.pop('PYTHONHOME', None)  # as an environment's own `activate` does
    _start_again(python, problem + ': continuing with ' + python)


def _problem(own):
    """Return why this Python cannot run the scripts; '' if it can. `own`: it is an environment."""
    name = sys.executable or 'this Python'
    if sys.version_info < (3, 7):
        return name + ' is Python ' + '.'.join(map(str, sys.version_info[:2]))
    from importlib.util import find_spec  # not in Python 2
    for package in NEEDED:
        spec = find_spec(package)
        if not (spec and spec.has_location):  # a folder without __init__.py has none
            return name + ' has no ' + package
        if own and not spec.origin.startswith(sys.prefix + os.sep):
            _exit(spec.origin + ' hides the package ' + package + ': rename or move it')
    try:
        own or __import__('numpy')  # fails if PYTHONPATH has packages of another Python
    except Exception:  # numpy raises several kinds
        return name + ' cannot load numpy'
    return ''


def hiding_folders():
    """Return the folders of PYTHONPATH that hide packages of this environment."""
    value = os.environ.get('PYTHONPATH')
    paths = map(os.path.abspath, value.split(os.pathsep)) if value else []
    return [path for path in paths
            if path != ROOT and not path.startswith(sys.prefix + os.sep)
            and any(os.path.isdir(os.path.join(path, name)) for name in PACKAGES)]


def _ignore_pythonpath():
    hiding = hiding_folders()
    if hiding:
        _say('note: PYTHONPATH has packages of another Python in ' + hiding[0] + ': ignoring it')
        sys.path[:] = [path for path in sys.path if os.path.abspath(path) not in hiding]
        del os.environ['PYTHONPATH']


def _start_again(python, reason):
    _say('note: ' + reason)
    os.environ[STARTED_AGAIN] = '1'
    os.execv(python, [python] + sys.argv)


def _exit(problem):
    _say('error: ' + problem)
    sys.exit(1)


def _say(line):
    line += os.linesep
    try:
        os.write(2, line if isinstance(line, bytes) else line.encode('utf-8', 'replace'))
    except OSError:
        pass  # stderr is closed or full
