"""The entry point of the container, in a folder like the file system of its image."""

import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile

import pytest

from tests import in_process
from tests.processes import ROOT
from tests.tools.helpers import SCRIPTS, VOLUME, one_line, read, write_script

NOBODY = 65534


class Container:
    """A folder like the file system of the image, with the volumes `work` and `data`."""

    def __init__(self, folder, volumes):
        self.folder, self.work, self.data = volumes, volumes / 'work', volumes / 'data'
        self.image = folder / 'image'
        self.entry = str(self.image / 'deploy/entrypoint.sh')
        for path in (self.work, self.data / 'cifar10'):
            path.mkdir(parents=True)
        for name in ('deploy/entrypoint.sh', 'bin/permafrost', 'permafrost/errors.py'):
            (self.image / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(os.path.join(ROOT, name), str(self.image / name))
        write_script(self.image / '.venv/default/bin/python',
                     'case $1 in -|-c|-I) exec python3 "$@" ;; esac\n'
                     f'echo "$$ $PERMAFROST_COMMAND ${{1#{self.image}/}}" "${{@:2}}"')
        self.environment = dict(os.environ, PERMAFROST_DATA=str(self.data))
        for name in ('ENGINE', 'PERMAFROST_COMMAND'):
            self.environment.pop(name, None)

    def start(self, *arguments, **options):
        """Start the entry point and return its Popen."""
        return subprocess.Popen(
            ['bash', self.entry, *arguments], cwd=str(self.work), env=self.environment,
            **dict({'stdin': subprocess.DEVNULL}, **options), stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, universal_newlines=True)

    def run(self, *arguments, **options):
        """Run the entry point to its end; return (process id, exit code, stdout, stderr)."""
        process = self.start(*arguments, **options)
        stdout, stderr = process.communicate(timeout=60)
        return process.pid, process.returncode, stdout, stderr

    def notes(self, *arguments, **options):
        """Return what the entry point adds on stderr to a command, which must still run."""
        _, code, stdout, stderr = self.run(*arguments, **options)
        assert code == 0 and stdout
        return stderr


@pytest.fixture
def container():
    # not pytest's own folder, which other users cannot enter
    with tempfile.TemporaryDirectory() as folder, \
            tempfile.TemporaryDirectory(dir=VOLUME) as volumes:
        for path in (folder, volumes):
            os.chmod(path, 0o755)
        yield Container(pathlib.Path(folder), pathlib.Path(volumes))


@pytest.mark.parametrize('command', sorted(set(SCRIPTS) - {'doctor'}))
def test_a_command_runs_its_script_in_the_process_that_receives_signals(container, command):
    pid, code, stdout, stderr = container.run(command, '--steps', '3', '--set=a b')
    script = f'permafrost {SCRIPTS[command]}'
    assert (code, stdout, stderr) == (0, f'{pid} {script} --steps 3 --set=a b\n', '')


def test_tensorboard_listens_on_all_addresses_so_that_docker_can_publish_its_port(container):
    pid, _, stdout, _ = container.run('tensorboard', '--port=7000')
    assert stdout.startswith(f'{pid} permafrost -W ignore -c ')
    assert stdout.endswith(' --logdir runs --bind_all --port=7000\n')
    for flags in (['--bind_all'], ['--host', '127.0.0.1'], ['--host=127.0.0.1']):
        assert container.run('tensorboard', *flags)[2].endswith(f' {" ".join(flags)}\n')


@pytest.mark.parametrize('arguments, code', [
    ([], 0), (['help'], 0), (['--help'], 0), (['trian'], 2), (['train.py'], 2), (['bash'], 2)])
def test_help_and_unknown_commands_list_the_commands(container, arguments, code):
    _, exit_code, stdout, stderr = container.run(*arguments)
    assert exit_code == code
    for command in list(SCRIPTS) + ['label', 'tensorboard']:
        assert re.search(rf'  {command}  ' if not code else rf'[ (]{command}[,)]', stdout + stderr)
    assert code == 0 or one_line(stderr).startswith(
        f"permafrost: unknown command '{arguments[0]}'")


def as_nobody():
    os.setgid(NOBODY)
    os.setuid(NOBODY)


@pytest.mark.skipif(os.getuid() != 0, reason='only root can become another user')
@pytest.mark.parametrize('command, folder', [
    ('train', 'work'), ('eval', 'work'), ('freeze', 'work'), ('cluster', 'work'), ('data', 'data'),
    ('train', 'work/runs'), ('freeze', 'work/runs')])
def test_a_volume_that_the_user_cannot_write_to_is_one_note(container, command, folder):
    container.work.chmod(0o777 if '/' in folder else 0o755)
    path = container.folder / folder
    path.mkdir(exist_ok=True)
    note = one_line(container.notes(command, preexec_fn=as_nobody))
    assert note.startswith(f'note: user {NOBODY} cannot write to {path} (owner: user 0).')
    assert '--user "$(id -u):$(id -g)"' in note


@pytest.mark.skipif(os.getuid() != 0, reason='only root can become another user')
@pytest.mark.parametrize('arguments', [
    ['train'], ['cluster'], ['freeze', '--help'], ['info'], ['data', '-h']])
def test_there_is_no_note_if_nothing_is_missing(container, arguments):
    (container.work / 'runs').mkdir()
    (container.work / 'runs').chmod(0o777)  # the rest may be read-only, as in Kubernetes
    assert container.notes(*arguments, preexec_fn=as_nobody) == ''


# Files that are lost with the container

@pytest.fixture
def outside():
    """A directory on the file system of the root, like a container's own."""
    with tempfile.TemporaryDirectory(dir='/var/tmp') as folder:
        path = pathlib.Path(folder)
        while not path.is_mount():
            path = path.parent
        if str(path) != '/':
            pytest.skip(f'{path} is a mount')
        yield folder


@pytest.mark.parametrize('arguments', [
    ['train', '--steps', '3'], ['train', '--data_dir', '/data'], ['local_cluster'], ['samples'],
    ['sweep', 'study', '--seeds', '2'], ['pack', 'photos', 'flowers'],
    ['sweep', '--grid', 'study'], ['sweep', '--dry_run', 'study', f'{VOLUME}/study'],
    ['pack', '--image_size', '24', f'{VOLUME}/a', 'flowers']])
def test_without_a_volume_nothing_is_started(container, outside, arguments):
    container.work = outside
    _, code, stdout, stderr = container.run(*arguments)
    assert (code, stdout) == (2, '')
    assert (f'is not on a volume, so docker run --rm would delete it with the container. Add -v '
            f'DIR:{outside} to docker run. To discard the results, use --tmpfs {outside}.\n'
            ) in one_line(stderr)


def test_the_volume_to_add_is_one_that_would_have_the_output(container, outside):
    _, code, _, stderr = container.run('train', '-run', f'{outside}/a')
    assert code == 2 and f'Add -v DIR:{outside}/a to docker run.' in one_line(stderr)


def test_data_and_freeze_say_that_their_output_is_lost(container, outside):
    _, code, stdout, stderr = container.run('data', '--data_dir', outside)
    assert (code, stdout) == (2, '') and f'{outside} is not on a volume' in one_line(stderr)
    container.environment['PERMAFROST_DATA'] = outside
    assert container.notes('data', f'--data_dir={VOLUME}/data') == ''
    note = one_line(container.notes('freeze', f'--output={outside}/a.pb'))
    assert note.startswith(f'note: {outside}/a.pb is not on a volume: files that this command')


@pytest.mark.parametrize('arguments', [
    ['sweep', f'{VOLUME}/study', '--grid'], ['train', f'--run={VOLUME}/a'],
    ['sweep', '--grid', f'{VOLUME}/study'], ['sweep', '--nogrid', f'{VOLUME}/study'],
    ['train', '--resume', '--run', f'{VOLUME}/a'], ['train', f'-run={VOLUME}/a', '-steps', '3'],
    ['train', '--log_dir', VOLUME], ['train', '--help'],
    ['pack', '/a', f'{VOLUME}/b'], ['pack', '--image_size=24', '/a', f'{VOLUME}/b'],
    ['samples', f'--output={VOLUME}/a'], ['info'], ['eval', '--graph=a.pb']])
def test_a_directory_on_a_volume_may_be_named_by_a_flag(container, outside, arguments):
    container.work = outside
    assert container.notes(*arguments) == ''


def test_the_entry_point_knows_the_flags_without_a_value():
    found = set()
    for command in ('train', 'sweep', 'local_cluster', 'samples', 'pack', 'cluster'):
        shown = in_process.run(SCRIPTS[command], '--help').stdout
        found.update(re.findall(r'^ +--\[no\](\w+):', shown, re.MULTILINE))
    listed, = re.findall(r"^booleans=' (.*) '$", read('deploy/entrypoint.sh'), re.MULTILINE)
    assert listed.split() == sorted(found)


def test_data_that_would_be_lost_are_not_downloaded(container, outside):
    container.environment['PERMAFROST_DATA'] = outside
    _, code, stdout, stderr = container.run('data')
    assert (code, stdout) == (2, '') and f'Add -v DIR:{outside}' in one_line(stderr)


def test_a_task_of_a_cluster_is_told_once(container, outside):
    """Not all tasks write to the run, and the entry point cannot tell which."""
    container.work = outside
    assert 'is not on a volume' in one_line(container.notes('cluster', '--job_name=worker'))


@pytest.mark.parametrize('command', ['train', 'sweep', 'samples', 'cluster'])
def test_without_data_a_note_says_how_to_mount_or_download_it(container, command):
    shutil.rmtree(str(container.data))
    note = one_line(container.notes(command))
    assert note.startswith(f'note: {container.data} has no cifar10/.')
    assert f'-v DIR:{container.data}:ro' in note and 'IMAGE data' in note
    assert container.notes(command, '--help') == container.notes('info') == ''
    assert container.notes(command, '--dataset', 'flowers') == '', 'not CIFAR-10'
    assert container.notes('eval') == container.notes('freeze') == '', 'the run says which dataset'


def test_label_passes_on_arguments_and_exit_code(container):
    write_script(container.image / 'label_image.sh', 'printf "%s|" "$@"; exit 7')
    assert container.run('label', 'tuto', 'a b.png')[1:3] == (7, 'tuto|a b.png|')
    (container.work / 'trained_models').mkdir()
    (container.work / 'trained_models/tuto.pb').write_text('')
    assert container.run('label', 'tuto', 'a.png')[2] == 'trained_models/tuto.pb|a.png|'


def test_label_reads_its_input(container, tmp_path):
    write_script(container.image / 'label_image.sh', 'cat')
    (tmp_path / 'image').write_text('an image')
    with (tmp_path / 'image').open() as stream:
        assert container.run('label', 'tuto', '/dev/stdin', stdin=stream)[1:] == (0, 'an image', '')


@pytest.mark.parametrize('number, code', [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_label_and_its_program(container, number, code):
    write_script(container.image / 'label_image.sh', 'echo $$; exec sleep 60')
    process = container.start('label')
    child = int(process.stdout.readline())
    process.send_signal(number)
    process.communicate(timeout=30)
    assert process.returncode == code
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)
