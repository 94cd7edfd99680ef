"""The entry point of the container, its image, the Compose file and the TFJob, without a daemon.

tools/dev/check_image.sh tests a built image.
"""

import fnmatch
import json
import os
import pathlib
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile

import pytest

from permafrost import commands
from tests import in_process, processes
from tests.processes import ROOT
from tests.tools.helpers import one_line, write_script

SCRIPTS = {verb: script for script, verb in commands.VERBS.items() if script.endswith('.py')}
NOBODY = 65534
VOLUME = '/dev/shm'  # on any Linux this is a mount of its own, as a volume is


def read(name):
    with open(os.path.join(ROOT, name)) as stream:
        return stream.read()


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
                     'case $1 in -|-c) exec python3 "$@" ;; esac\n'
                     f'echo "$$ $PERMAFROST_COMMAND ${{1#{self.image}/}}" "${{@:2}}"')
        self.environment = dict(os.environ, PERMAFROST_DATA=str(self.data))
        for name in ('ENGINE', 'PERMAFROST_COMMAND'):
            self.environment.pop(name, None)

    def start(self, *arguments, **options):
        """Start the entry point and return its Popen."""
        return subprocess.Popen(
            ['bash', self.entry, *arguments], cwd=str(self.work), env=self.environment,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            universal_newlines=True, **options)

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


# The entry point

@pytest.mark.parametrize('command', sorted(set(SCRIPTS) - {'doctor'}))
def test_a_command_runs_its_script_in_the_process_that_receives_signals(container, command):
    pid, code, stdout, stderr = container.run(command, '--steps', '3', '--set=a b')
    script = f'permafrost {SCRIPTS[command]}'
    assert (code, stdout, stderr) == (0, f'{pid} {script} --steps 3 --set=a b\n', '')


def test_tensorboard_listens_on_all_addresses_so_that_docker_can_publish_its_port(container):
    pid, _, stdout, _ = container.run('tensorboard', '--port=7000')
    assert stdout == (f'{pid} permafrost -W ignore -m tensorboard.main --logdir runs '
                      '--host localhost --host 0.0.0.0 --port=7000\n')  # the last --host counts


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
def volume():
    with tempfile.TemporaryDirectory(dir=VOLUME) as folder:
        yield folder


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
    ['pack', 'photos', 'flowers'], ['pack', '--image_size', '24', f'{VOLUME}/a', 'flowers']])
def test_without_a_volume_nothing_is_started(container, outside, arguments):
    container.work = outside
    _, code, stdout, stderr = container.run(*arguments)
    assert (code, stdout) == (2, '')
    assert (f'is not on a volume, so docker run --rm would delete it with the container. Add -v '
            f'DIR:{outside} to docker run') in one_line(stderr)


@pytest.mark.parametrize('arguments', [
    ['train', f'--run={VOLUME}/a'], ['train', '--log_dir', VOLUME], ['train', '--help'],
    ['pack', '/a', f'{VOLUME}/b'], ['pack', '--image_size=24', '/a', f'{VOLUME}/b'],
    ['samples', f'--output={VOLUME}/a'], ['info'], ['eval', '--graph=a.pb']])
def test_a_directory_on_a_volume_may_be_named_by_a_flag(container, outside, arguments):
    container.work = outside
    assert container.notes(*arguments) == ''


def test_data_that_would_be_lost_are_not_downloaded(container, outside):
    container.environment['PERMAFROST_DATA'] = outside
    _, code, stdout, stderr = container.run('data')
    assert (code, stdout) == (2, '') and f'Add -v DIR:{outside}' in one_line(stderr)


def test_a_task_of_a_cluster_is_told_once(container, outside):
    """Not all tasks write to the run, and the entry point cannot tell which."""
    container.work = outside
    assert 'is not on a volume' in one_line(container.notes('cluster', '--job_name=worker'))


@pytest.mark.parametrize('command', ['train', 'eval', 'freeze', 'cluster'])
def test_without_data_a_note_says_how_to_mount_or_download_it(container, command):
    shutil.rmtree(str(container.data))
    note = one_line(container.notes(command))
    assert note.startswith(f'note: {container.data} has no cifar10/.')
    assert f'-v DIR:{container.data}:ro' in note and 'IMAGE data' in note
    assert container.notes(command, '--help') == container.notes('info') == ''
    assert container.notes(command, '--dataset', 'flowers') == '', 'not CIFAR-10'


def test_label_passes_on_arguments_and_exit_code(container):
    write_script(container.image / 'label_image.sh', 'printf "%s|" "$@"; exit 7')
    assert container.run('label', 'tuto', 'a b.png')[1:3] == (7, 'tuto|a b.png|')
    (container.work / 'trained_models').mkdir()
    (container.work / 'trained_models/tuto.pb').write_text('')
    assert container.run('label', 'tuto', 'a.png')[2] == 'trained_models/tuto.pb|a.png|'


@pytest.mark.parametrize('number, code', [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_label_and_its_program(container, number, code):
    write_script(container.image / 'label_image.sh', 'echo $$; exec sleep 60')
    process = container.start(
        'label', preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    child = int(process.stdout.readline())
    process.send_signal(number)
    process.communicate(timeout=30)
    assert process.returncode == code
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


# The image

def copies_of_last_stage():
    """Return (sources, destination) of each COPY from the checkout to the image itself."""
    stage = read('Dockerfile').replace('\\\n', ' ').rsplit('\nFROM ', 1)[1]
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


def test_the_image_runs_as_a_user_and_stops_on_sigterm():
    stage = read('Dockerfile').rsplit('\nFROM ', 1)[1]
    assert re.findall(r'^USER (.*)$', stage, re.MULTILINE) == ['1000:1000']
    assert 'STOPSIGNAL' not in stage, 'the default is SIGTERM'
    assert '\nENTRYPOINT ["/opt/permafrost/deploy/entrypoint.sh"]\n' in stage
    assert 'PYTHONUNBUFFERED=1' in stage


# The Compose file and the TFJob

def documents(name):
    """Return the YAML documents in a file of the checkout."""
    python = os.path.join(ROOT, '.venv', 'lint', 'bin', 'python')
    if not os.path.exists(os.path.join(os.path.dirname(python), 'mypy')):
        pytest.skip('.venv/lint cannot read YAML: run make lint with Python 3.10 or newer')
    output = subprocess.run([python, '-c', 'import json, sys, yaml; '
                             'print(json.dumps(list(yaml.safe_load_all(sys.stdin))))'],
                            input=read(name), stdout=subprocess.PIPE, universal_newlines=True,
                            check=True).stdout
    return json.loads(output)


def parse(arguments):
    """Return (command, {flag: value}) of a container's arguments, which must be valid."""
    command = arguments[0]
    if command == 'tensorboard':
        return command, {}
    return command, in_process.parse_flags(SCRIPTS[command], arguments[1:])


@pytest.fixture(scope='module')
def compose():
    return documents('docker-compose.yml')[0]


def test_compose_isolates_the_cluster(compose):
    services, networks = compose['services'], compose['networks']
    assert networks['cluster'] == {'internal': True}
    for name, service in services.items():
        assert service['cap_drop'] == ['ALL'] and service['read_only'] is True
        assert service['security_opt'] == ['no-new-privileges:true']
        other_networks = {'tensorboard': ['curves'], 'data': ['internet']}
        assert service['networks'] == other_networks.get(name, ['cluster'])
        ports = service.get('ports', [])
        assert ports == (['127.0.0.1:6006:6006'] if name == 'tensorboard' else [])
        data = [volume for volume in service['volumes'] if ':/data' in volume]
        assert all(volume.endswith(':ro') for volume in data) or name == 'data'


def test_the_commands_of_compose_are_valid(compose):
    tasks = {}
    for name, service in compose['services'].items():
        words = re.sub(r'\$\{(?:TRAIN|RUN):-([^}]*)\}', r'\1', service['command'])
        assert '$' not in words
        command, flags = parse(shlex.split(words))
        if command == 'cluster':
            tasks[name] = flags
    assert {name: (flags['job_name'], flags['task_index']) for name, flags in tasks.items()} == {
        'ps': ('ps', 0), 'worker0': ('worker', 0), 'worker1': ('worker', 1),
        'evaluator': ('evaluator', 0)}
    for flags in tasks.values():
        assert flags['ps_hosts'] == ['ps:2222']
        assert flags['worker_hosts'] == ['worker0:2222', 'worker1:2222']
        assert flags['run'] == 'runs/cluster' and flags['resume'] is True


def test_the_job_is_isolated_and_its_commands_are_valid():
    objects = documents('deploy/kubernetes/tfjob.yaml')
    claims = [item['metadata']['name'] for item in objects
              if item['kind'] == 'PersistentVolumeClaim']
    policy, = [item['spec'] for item in objects if item['kind'] == 'NetworkPolicy']
    job, = [item['spec'] for item in objects if item['kind'] == 'TFJob']
    labels = policy['podSelector']['matchLabels']
    assert sorted(policy['policyTypes']) == ['Egress', 'Ingress']
    peers = [{'podSelector': {'matchLabels': labels}}]
    assert [rule['from'] for rule in policy['ingress']] == [peers]
    ports = {port['port'] for rule in policy['ingress'] for port in rule['ports']}
    assert set(job['tfReplicaSpecs']) == {'Chief', 'Worker', 'PS', 'Evaluator'}
    for replica in job['tfReplicaSpecs'].values():
        template = replica['template']
        assert labels.items() <= template['metadata']['labels'].items()
        assert template['spec']['securityContext']['runAsNonRoot'] is True
        assert template['spec']['automountServiceAccountToken'] is False
        for volume in template['spec']['volumes']:
            assert volume.get('persistentVolumeClaim', {}).get('claimName', claims[0]) in claims
        container, = template['spec']['containers']
        assert {port['containerPort'] for port in container['ports']} == ports == {2222}
        assert container['securityContext']['readOnlyRootFilesystem'] is True
        assert container['securityContext']['capabilities'] == {'drop': ['ALL']}
        command, flags = parse(container['args'])
        assert command == 'cluster'
        assert flags['run'] == 'runs/cluster' and flags['resume'] is True
