"""The container's entry point, what its image holds, and the compose file and manifests, without a
daemon. tools/check_image.sh tries a built image."""

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

from tests import processes
from tests.processes import ROOT
from tests.tools.test_setup import script

COMMANDS = {'train': 'train.py', 'eval': 'eval.py', 'freeze': 'freeze_graph.py',
            'info': 'info.py', 'cluster': 'train_cluster.py', 'data': 'tools/get_data.py'}
NOBODY = 65534


def read(name):
    with open(os.path.join(ROOT, name)) as stream:
        return stream.read()


class Container:
    """A folder as the image has it, of which `work` and `data` are the volumes."""

    def __init__(self, folder):
        self.folder, self.work, self.data = folder, folder / 'work', folder / 'data'
        self.image = folder / 'image'
        self.entry = str(self.image / 'deploy/entrypoint.sh')
        for made in (self.work, self.data / 'cifar10', self.image / 'deploy'):
            made.mkdir(parents=True)
        shutil.copy(os.path.join(ROOT, 'deploy/entrypoint.sh'), self.entry)
        script(self.image / '.venv/default/bin/python', 'echo "$$ ${1#%s/}" "${@:2}"' % self.image)
        script(self.image / '.venv/default/bin/tensorboard', 'echo "$$ tensorboard" "$@"')
        self.environment = dict(os.environ, PERMAFROST_DATA=str(self.data))

    def start(self, *arguments, **options):
        return subprocess.Popen(
            ['bash', self.entry] + list(arguments), cwd=str(self.work), env=self.environment,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            universal_newlines=True, **options)

    def run(self, *arguments, **options):
        """(process id, exit code, output)"""
        process = self.start(*arguments, **options)
        output, _ = process.communicate(timeout=60)
        return process.pid, process.returncode, output


@pytest.fixture
def container():
    # not pytest's own folder, which other users cannot enter
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Container(pathlib.Path(folder))


# The entry point

@pytest.mark.parametrize('command', sorted(COMMANDS))
def test_a_command_is_its_script_in_the_process_that_gets_the_signals(container, command):
    pid, code, output = container.run(command, '--steps', '3', '--set=a b')
    assert (code, output) == (0, '%d %s --steps 3 --set=a b\n' % (pid, COMMANDS[command]))


def test_tensorboard_listens_where_the_port_can_be_published(container):
    pid, code, output = container.run('tensorboard', '--port=7000')
    assert output == '%d tensorboard --logdir runs --host 0.0.0.0 --port=7000\n' % pid


@pytest.mark.parametrize('arguments, code', [
    ([], 0), (['help'], 0), (['--help'], 0), (['trian'], 2), (['train.py'], 2), (['bash'], 2)])
def test_the_commands_are_listed(container, arguments, code):
    _, got, output = container.run(*arguments)
    assert got == code
    for command in list(COMMANDS) + ['label', 'tensorboard']:
        assert re.search(r'^  %s  ' % command, output, re.MULTILINE)
    assert code == 0 or "no command '%s'" % arguments[0] in output.splitlines()[0]


def as_nobody():
    os.setgid(NOBODY)
    os.setuid(NOBODY)


@pytest.mark.parametrize('arguments, place', [
    (['train'], 'work'), (['train', '--run', 'runs/a'], 'work'), (['eval'], 'work'),
    (['train', '--run', 'mine/a', '--run=theirs/b'], 'work/theirs'),
    (['train', '--log_dir=theirs'], 'work/theirs'), (['freeze'], 'work'),
    (['freeze', '--output', 'theirs/a.pb'], 'work/theirs'), (['data'], 'data'),
    (['cluster', '--job_name=worker', '--task_index=0'], 'work')])
def test_a_volume_that_cannot_be_written_is_one_line(container, arguments, place):
    if os.getuid():
        pytest.skip('only root can be somebody else')
    for name, mode in (('theirs', 0o755), ('mine', 0o777)):
        (container.work / name).mkdir()
        (container.work / name).chmod(mode)
    _, code, output = container.run(*arguments, preexec_fn=as_nobody)
    assert code == 1 and output.count('\n') == 1
    path = container.folder / place
    assert '%s belongs to user 0, and user %d may not' % (path, NOBODY) in output
    assert '--user "$(id -u):$(id -g)"' in output


@pytest.mark.parametrize('arguments', [
    (['train', '--run=mine/a']), (['train', '--log_dir', 'mine']), (['info']),
    (['train', '--help']), (['eval', '--graph=a.pb']),
    (['cluster', '--job_name=worker', '--task_index=1']),
    (['cluster', '--job_name', 'ps', '--task_index=0'])])
def test_what_writes_nothing_there_needs_no_volume(container, arguments):
    if os.getuid():
        pytest.skip('only root can be somebody else')
    (container.work / 'mine').mkdir()
    (container.work / 'mine').chmod(0o777)
    _, code, output = container.run(*arguments, preexec_fn=as_nobody)
    assert code == 0, output


@pytest.mark.parametrize('command', ['train', 'cluster'])
def test_no_data_says_how_to_mount_or_fetch_it(container, command):
    shutil.rmtree(str(container.data))
    _, code, output = container.run(command)
    assert code == 1 and output.count('\n') == 1
    assert '-v DIR:%s' % container.data in output and 'IMAGE data' in output
    (container.work / 'there').mkdir()
    (container.work / 'there/config.json').write_text('{}')
    assert container.run(command, '--resume', '--run=new')[1] == 1
    for flags in (['--data_dir=elsewhere'], ['--data_set=synthetic'], ['--help'], ['--resume'],
                  ['--resume', '--run=there']):
        assert container.run(command, *flags)[1] == 0


@pytest.mark.parametrize('task', ['{"task": {"type": "%s", "index": 0}}',
                                  '{"task":{"type":"%s","index":0}}'])
def test_a_task_that_tf_config_names_is_asked_for_what_it_needs(container, task):
    shutil.rmtree(str(container.data))
    for job, needs in (('ps', False), ('chief', True), ('worker', True), ('evaluator', True)):
        container.environment['TF_CONFIG'] = task % job
        assert container.run('cluster')[1] == needs


def test_label_passes_arguments_and_exit_codes_on(container):
    script(container.image / 'label_image.sh', 'printf "%s|" "$@"; exit 7')
    assert container.run('label', 'tuto', 'a b.png')[1:] == (7, 'tuto|a b.png|')
    (container.work / 'trained_models').mkdir()
    (container.work / 'trained_models/tuto.pb').write_text('')
    assert container.run('label', 'tuto', 'a.png')[2] == 'trained_models/tuto.pb|a.png|'


@pytest.mark.parametrize('number, code', [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_label_ends_with_a_signal_and_leaves_nothing(container, number, code):
    script(container.image / 'label_image.sh', 'echo $$; exec sleep 60')
    process = container.start(
        'label', preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    child = int(process.stdout.readline())
    process.send_signal(number)
    process.communicate(timeout=30)
    assert process.returncode == code
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


# The image

def copies():
    """[(stage it is from or None, sources, destination)] of the last stage of the Dockerfile."""
    last = read('Dockerfile').replace('\\\n', ' ').rsplit('\nFROM ', 1)[1]
    found = []
    for words in re.findall(r'^COPY (.*)$', last, re.MULTILINE):
        stage = re.match(r'--from=(\S+) ', words)
        names = words[stage.end() if stage else 0:].split()
        found.append((stage and stage.group(1), names[:-1], names[-1]))
    return found


def ignored(path):
    """Whether .dockerignore leaves `path`, relative to the checkout, out."""
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


def test_the_context_is_what_git_keeps():
    for name in ('.git', '.venv/tf1/bin/python', 'runs/tuto/1/config.json', 'data/x', 'a/b.pyc',
                 'tests/__pycache__/x.py', 'label_image/build/main.o', 'models/a.tmp', 'b.part'):
        assert ignored(name), name
    rules = [line.strip('/') for line in read('.gitignore').splitlines()]
    patterns = [line.replace('**/', '') for line in read('.dockerignore').splitlines()]
    assert [rule for rule in rules if rule not in patterns] == []


def test_no_file_of_the_project_is_left_out():
    if not os.path.exists(os.path.join(ROOT, '.git')):
        pytest.skip('no git checkout, as in the build of the image')
    kept = subprocess.check_output(  # the checkout may be another user's
        ['git', '-c', 'safe.directory=' + os.path.realpath(ROOT), 'ls-files'], cwd=ROOT,
        universal_newlines=True)
    assert 'train.py' in kept.splitlines()
    assert [path for path in kept.splitlines() if ignored(path)] == []


@pytest.fixture
def image(tmp_path):
    """A folder with what the last stage of the Dockerfile copies from the checkout."""
    root = tmp_path / 'opt/permafrost'
    for stage, sources, destination in copies():
        if stage is None:
            for pattern in sources:
                for name in ([n for n in os.listdir(ROOT) if fnmatch.fnmatch(n, pattern)]
                             if '*' in pattern else [pattern]):
                    assert not ignored(name)
                    target = os.path.join(str(root), destination)
                    if os.path.isdir(os.path.join(ROOT, name)):
                        shutil.copytree(os.path.join(ROOT, name), target,
                                        ignore=shutil.ignore_patterns('__pycache__'))
                    else:
                        os.makedirs(os.path.dirname(target + 'x'), exist_ok=True)
                        shutil.copy(os.path.join(ROOT, name), target)
    script(root / '.venv/default/bin/python', 'exec %s "$@"\n' % shlex.quote(sys.executable))
    (tmp_path / 'work').mkdir()
    return str(root / 'deploy/entrypoint.sh')


def test_the_image_has_all_that_its_commands_import(image, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path / 'work')
    for command, name in COMMANDS.items():
        if not os.path.exists(os.path.join(ROOT, name)):
            continue  # nothing to import
        output = processes.finish([image, command, '--help'], 1)  # absl's code for help
        assert 'flags:' in output and name in output
    assert 'tuto' in processes.finish([image, 'info', '--model=tuto'])


@pytest.mark.slow
def test_sigterm_to_the_container_saves_and_resuming_goes_on_there(
        image, synthetic, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path / 'work')
    training = [image, 'train'] + processes.training(synthetic, 'runs/a', '--steps=100000')[2:]
    code, output = processes.interrupt(training, r'step [0-9]*[1-9]')
    assert code == 143, output
    step = int(re.search(r'^stopped at step (\d+)', output, re.MULTILINE).group(1))
    output = processes.finish([image, 'train', '--run=runs/a', '--resume',
                               '--steps=%d' % (step + 3)])
    assert 'resuming at step %d\n' % step in output and 'done at step %d' % (step + 3) in output


def test_label_image_is_there_without_make(tmp_path):
    """As in the image: the program was built, and there is neither make nor a compiler."""
    shutil.copy(os.path.join(ROOT, 'label_image.sh'), str(tmp_path))
    script(tmp_path / 'label_image/build/label_image', 'echo "$1" "${@:3}"')
    (tmp_path / '.venv/default').mkdir(parents=True)
    (tmp_path / 'a.pb').write_text('')
    for tool in ('bash', 'dirname'):
        (tmp_path / 'bin').mkdir(exist_ok=True)
        (tmp_path / 'bin' / tool).symlink_to(shutil.which(tool))
    done = subprocess.run(['bash', 'label_image.sh', 'a.pb', 'b.png'], cwd=str(tmp_path),
                          env={'PATH': str(tmp_path / 'bin')}, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, universal_newlines=True)
    assert (done.returncode, done.stdout) == (0, '--graph=a.pb -- b.png\n')


def test_the_image_is_not_roots_and_stops_on_the_signal_that_saves():
    last = read('Dockerfile').rsplit('\nFROM ', 1)[1]
    assert re.findall(r'^USER (.*)$', last, re.MULTILINE) == ['1000:1000']
    assert 'STOPSIGNAL' not in last, 'the default is SIGTERM'
    assert re.search(r'^ENTRYPOINT \["/opt/permafrost/deploy/entrypoint.sh"\]$', last, re.MULTILINE)
    assert 'PYTHONUNBUFFERED=1' in last


# The compose file and the manifests

LINT = os.path.join(ROOT, '.venv', 'lint', 'bin', 'python')
HAS_YAML = os.path.exists(os.path.join(os.path.dirname(LINT), 'hadolint'))


def documents(name):
    """The YAML documents in a file of the checkout."""
    if not HAS_YAML:
        pytest.skip('no .venv/lint that reads YAML: make lint builds it')
    done = subprocess.run([LINT, '-c', 'import json, sys, yaml; '
                           'print(json.dumps(list(yaml.safe_load_all(sys.stdin))))'],
                          input=read(name), stdout=subprocess.PIPE, universal_newlines=True)
    assert done.returncode == 0
    return json.loads(done.stdout)


# Reads flags as the script at sys.argv[1] does, and prints those given.
PARSE = '''
import importlib.util, json, sys
sys.argv = sys.argv[1:]
spec = importlib.util.spec_from_file_location('script', sys.argv[0])
spec.loader.exec_module(importlib.util.module_from_spec(spec))
from absl import flags
assert flags.FLAGS(sys.argv)[1:] == []
print(json.dumps({name: flags.FLAGS[name].value for name in flags.FLAGS
                  if flags.FLAGS[name].present}))
'''


def parsed(arguments):
    """(command, {flag: value}) of a container's arguments; its script must take them."""
    command = arguments[0]
    if command == 'tensorboard' or not os.path.exists(os.path.join(ROOT, COMMANDS[command])):
        return command, {}
    done = subprocess.run([sys.executable, '-c', PARSE,
                           os.path.join(ROOT, COMMANDS[command])] + arguments[1:],
                          cwd=ROOT, env=dict(os.environ, PYTHONPATH=ROOT), stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, universal_newlines=True)
    assert done.returncode == 0, done.stderr
    return command, json.loads(done.stdout)


@pytest.fixture
def compose():
    return documents('docker-compose.yml')[0]


def test_compose_isolates_the_cluster(compose):
    services, networks = compose['services'], compose['networks']
    assert networks['cluster'] == {'internal': True}
    for name, service in services.items():
        assert service['cap_drop'] == ['ALL'] and service['read_only'] is True
        assert service['security_opt'] == ['no-new-privileges:true']
        own = {'tensorboard': ['curves'], 'data': ['internet']}
        assert service['networks'] == own.get(name, ['cluster'])
        ports = service.get('ports', [])
        assert ports == (['127.0.0.1:6006:6006'] if name == 'tensorboard' else [])
        data = [volume for volume in service['volumes'] if ':/data' in volume]
        assert all(volume.endswith(':ro') for volume in data) or name == 'data'


def test_compose_starts_what_the_scripts_understand(compose):
    tasks = {}
    for name, service in compose['services'].items():
        words = re.sub(r'\$\{(?:TRAIN|RUN):-([^}]*)\}', r'\1', service['command'])
        assert '$' not in words
        command, given = parsed(shlex.split(words))
        if command == 'cluster':
            tasks[name] = given
    if os.path.exists(os.path.join(ROOT, COMMANDS['cluster'])):
        assert {name: (given['job_name'], given['task_index'])
                for name, given in tasks.items()} == {
            'ps': ('ps', 0), 'worker0': ('worker', 0), 'worker1': ('worker', 1),
            'evaluator': ('evaluator', 0)}
        for given in tasks.values():
            assert given['ps_hosts'] == ['ps:2222']
            assert given['worker_hosts'] == ['worker0:2222', 'worker1:2222']
            assert given['run'] == 'runs/cluster' and given['resume'] is True


def manifests(*paths):
    if not HAS_YAML:
        pytest.skip('no .venv/lint that has the models: make lint builds it')
    done = subprocess.run([LINT, 'tools/check_manifests.py'] + [str(path) for path in paths],
                          cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          universal_newlines=True, timeout=120)
    assert 'Traceback' not in done.stdout
    return done.returncode, done.stdout


def test_manifests_are_as_the_models_ask():
    code, output = manifests('deploy/kubernetes/tfjob.yaml', 'deploy/kubernetes/data.yaml')
    assert (code, output) == (0, '5 objects are as their models ask\n')


MISTAKES = [
    ('replicas: 2', 'replicas: "2"', "Worker.replicas: is '2', not of type int"),
    ('runAsNonRoot', 'runAsNonroot', 'did you mean runAsNonRoot?'),
    ('OnFailure', 'Onfailure', "restartPolicy is 'Onfailure' (there are: Always, OnFailure"),
    ('name: tensorflow', 'name: tf', "no container is called tensorflow, but ['tf']"),
    ('    Evaluator:', '    Evaluators:', "has no 'Evaluators'"),
    ('containerPort: 2222', 'protocol: TCP', '`container_port`, must not be `None`'),
    ('kind: TFJob', 'kind: TFjob', 'unknown kind kubeflow.org/v1 TFjob'),
    ('tfReplicaSpecs', 'replicaSpecs', 'did you mean tfReplicaSpecs?'),
    ('[Ingress, Egress]', 'Ingress', "policyTypes: is 'Ingress', not a list"),
    ('spec:', 'spec: [', 'while parsing'),
]


def test_mistakes_in_a_manifest_are_named(tmp_path):
    text, paths = read('deploy/kubernetes/tfjob.yaml'), []
    for old, new, _ in MISTAKES:
        assert old in text
        paths.append(tmp_path / ('%d.yaml' % len(paths)))
        paths[-1].write_text(text.replace(old, new))
    code, output = manifests(*paths)
    lines = output.splitlines()
    assert code == 1 and len(lines) == len(MISTAKES)
    for line, (_, _, said) in zip(lines, MISTAKES):
        assert line.startswith('error: ') and said in line


def test_the_job_is_isolated_and_starts_what_the_scripts_understand():
    claims, policy, job = [], None, None
    for document in documents('deploy/kubernetes/tfjob.yaml'):
        if document['kind'] == 'PersistentVolumeClaim':
            claims.append(document['metadata']['name'])
        policy = document['spec'] if document['kind'] == 'NetworkPolicy' else policy
        job = document['spec'] if document['kind'] == 'TFJob' else job
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
        command, given = parsed(container['args'])
        assert command == 'cluster'
        if given:
            assert given['run'] == 'runs/cluster' and given['resume'] is True
