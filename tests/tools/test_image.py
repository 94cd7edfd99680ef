"""The image of the container: what the Dockerfile copies, and that it suffices. Without a daemon.

tools/dev/check_image.sh tests a built image.
"""

import fnmatch
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import tempfile

import pytest

from tests import processes
from tests.processes import ROOT
from tests.tools.helpers import SCRIPTS, VOLUME, read, write_script


def copies_of_last_stage():
    """Return (sources, destination) of each COPY from the checkout to the image itself.

    The stage `engine` has the requirements from the checkout too.
    """
    stage = read('Dockerfile').replace('\\\n', ' ').rsplit('\nFROM ', 1)[1]
    stage = stage.replace('--from=engine /opt/permafrost/requirements ', 'requirements ')
    words = [line.split() for line in re.findall(r'^COPY (?!--from)(.*)$', stage, re.MULTILINE)]
    return [(names[:-1], names[-1]) for names in words]


def ignored(path):
    """Return whether .dockerignore excludes `path`, which is relative to the checkout."""
    patterns = [line for line in read('.dockerignore').splitlines()
                if line and not line.startswith('#')]
    parts = path.split('/')
    for pattern in patterns:
        for end in range(1, len(parts) + 1):
            head = '/'.join(parts[:end])
            if pattern.startswith('**/'):
                if fnmatch.fnmatch(parts[end - 1], pattern[3:]):
                    return True
            elif fnmatch.fnmatch(head, pattern) and head.count('/') == pattern.count('/'):
                return True
    return False


def test_the_build_context_excludes_what_git_ignores():
    for name in ('.git', '.venv/tf1/bin/python', 'runs/tuto/1/config.json', 'data/x', 'a/b.pyc',
                 'tests/__pycache__/x.py', 'label_image/build/main.o', 'models/a.tmp', 'b.part'):
        assert ignored(name), name
    rules = [line.strip('/') for line in read('.gitignore').splitlines()]
    patterns = [line.replace('**/', '') for line in read('.dockerignore').splitlines()]
    assert [rule for rule in rules if rule not in patterns] == []


def test_the_build_context_has_every_tracked_file():
    if not os.path.exists(os.path.join(ROOT, '.git')):
        pytest.skip('no git checkout, as in the build of the image')
    files = subprocess.check_output(  # the checkout may belong to another user
        ['git', '-c', 'safe.directory=' + os.path.realpath(ROOT), 'ls-files'], cwd=ROOT,
        universal_newlines=True).splitlines()
    assert 'train.py' in files
    assert [path for path in files if ignored(path)] == []


@pytest.fixture(scope='module')
def image(tmp_path_factory):
    """The entry point in a folder with what the image copies from the checkout."""
    root = tmp_path_factory.mktemp('image') / 'opt/permafrost'
    for patterns, destination in copies_of_last_stage():
        target = os.path.join(str(root), destination)
        for path in [path for pattern in patterns for path in pathlib.Path(ROOT).glob(pattern)]:
            assert not ignored(str(path.relative_to(ROOT)))
            if path.is_dir():
                shutil.copytree(str(path), target, ignore=shutil.ignore_patterns('__pycache__'))
            else:
                os.makedirs(os.path.dirname(target + 'x'), exist_ok=True)
                shutil.copy(str(path), target)
    for engine in {'default', os.environ.get('ENGINE') or 'default'}:  # make sets it
        write_script(root / '.venv' / engine / 'bin/python',
                     f'exec {shlex.quote(sys.executable)} "$@"\n')
    return str(root / 'deploy/entrypoint.sh')


@pytest.mark.parametrize('command', sorted(set(SCRIPTS) - {'doctor'}))
def test_the_image_has_all_that_its_commands_import(image, monkeypatch, tmp_path, command):
    monkeypatch.chdir(tmp_path)
    assert 'flags:' in processes.finish([image, command, '--help'])


def test_the_image_has_what_doctor_needs(image, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    output = subprocess.run([image, 'doctor'], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                            universal_newlines=True).stdout
    assert output.splitlines()[-1].startswith('doctor: '), output


def test_the_models_and_recipes_are_in_the_image(image, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert re.search(r'^tutorial \(.*\btuto\b', processes.finish([image, 'info', '--recipes']))


@pytest.fixture
def volume():
    with tempfile.TemporaryDirectory(dir=VOLUME) as folder:
        yield folder


@pytest.mark.slow
def test_a_stopped_container_saves_and_can_resume(image, synthetic, monkeypatch, volume):
    monkeypatch.chdir(volume)
    monkeypatch.delenv('PERMAFROST_COMMAND', raising=False)
    arguments = processes.train_command(synthetic, 'runs/a', '--steps=100000')[2:]
    code, output = processes.interrupt([image, 'train', *arguments], r'step [0-9]*[1-9]')
    assert code == 143, output
    step = int(re.search(r'^stopped at step (\d+)', output, re.MULTILINE).group(1))
    output = processes.finish([image, 'train', '--run=runs/a', '--resume', f'--steps={step + 3}'])
    assert f'resuming at step {step}\n' in output and f'done at step {step + 3}' in output
    assert 'next: permafrost eval --run runs/a\n' in output
    assert f'step {step + 3}: ' in processes.finish([image, 'eval', '--run=runs/a'])


def test_label_image_runs_without_make_and_a_compiler(tmp_path):
    """As in the image, which has the built program only."""
    shutil.copy(os.path.join(ROOT, 'label_image.sh'), str(tmp_path))
    write_script(tmp_path / 'label_image/build/label_image', 'echo "$1" "${@:3}"')
    (tmp_path / '.venv/default').mkdir(parents=True)
    (tmp_path / 'a.pb').write_text('')
    for tool in ('bash', 'dirname'):
        (tmp_path / 'bin').mkdir(exist_ok=True)
        (tmp_path / 'bin' / tool).symlink_to(shutil.which(tool))
    done = subprocess.run(['bash', 'label_image.sh', 'a.pb', 'b.png'], cwd=str(tmp_path),
                          env={'PATH': str(tmp_path / 'bin')}, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, universal_newlines=True)
    assert (done.returncode, done.stdout) == (0, '--graph=a.pb -- b.png\n')


def test_the_requirements_in_the_image_are_those_that_were_installed():
    """Of an image for a GPU, they are not those of the checkout."""
    stage = read('Dockerfile').rsplit('\nFROM ', 1)[1]
    assert [line for line in stage.splitlines() if 'COPY' in line and 'requirements' in line] == [
        'COPY --from=engine /opt/permafrost/requirements requirements']


def test_the_image_runs_as_a_user_and_stops_on_sigterm():
    stage = read('Dockerfile').rsplit('\nFROM ', 1)[1]
    assert re.findall(r'^USER (.*)$', stage, re.MULTILINE) == ['1000:1000']
    assert 'STOPSIGNAL' not in stage, 'the default is SIGTERM'
    assert '\nENTRYPOINT ["/opt/permafrost/deploy/entrypoint.sh"]\n' in stage
    assert 'PYTHONUNBUFFERED=1' in stage
