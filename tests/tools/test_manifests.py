"""The Compose file and the TFJob: they isolate the cluster, and their commands are valid."""

import json
import os
import re
import shlex
import subprocess

import pytest

from tests import in_process
from tests.processes import ROOT
from tests.tools.helpers import SCRIPTS, read


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


def claims_of(name):
    return [item['metadata']['name'] for item in documents(f'deploy/kubernetes/{name}.yaml')
            if item['kind'] == 'PersistentVolumeClaim']


def test_the_data_are_downloaded_to_their_own_volume():
    job, = [item for item in documents('deploy/kubernetes/data.yaml') if item['kind'] == 'Job']
    volumes = job['spec']['template']['spec']['volumes']
    assert [volume['persistentVolumeClaim']['claimName'] for volume in volumes
            if 'persistentVolumeClaim' in volume] == claims_of('data')


def test_the_job_is_isolated_and_its_commands_are_valid():
    objects = documents('deploy/kubernetes/tfjob.yaml')
    claims = {name: claims_of(name) for name in ('data', 'tfjob')}
    assert claims == {'data': ['permafrost-data'], 'tfjob': ['permafrost-runs']}
    policy, = [item['spec'] for item in objects if item['kind'] == 'NetworkPolicy']
    job, = [item['spec'] for item in objects if item['kind'] == 'TFJob']
    labels = policy['podSelector']['matchLabels']
    assert sorted(policy['policyTypes']) == ['Egress', 'Ingress']
    peers = [{'podSelector': {'matchLabels': labels}}]
    assert [rule['from'] for rule in policy['ingress']] == [peers]
    ports = {port['port'] for rule in policy['ingress'] for port in rule['ports']}
    assert 'backoffLimit' not in job['runPolicy'], 'it sums the restarts of all pods'
    assert set(job['tfReplicaSpecs']) == {'Chief', 'Worker', 'PS', 'Evaluator'}
    for replica in job['tfReplicaSpecs'].values():
        template = replica['template']
        assert labels.items() <= template['metadata']['labels'].items()
        assert template['spec']['securityContext']['runAsNonRoot'] is True
        assert template['spec']['automountServiceAccountToken'] is False
        for volume in template['spec']['volumes']:
            claim = volume.get('persistentVolumeClaim', {}).get('claimName', 'permafrost-data')
            assert [claim] in claims.values()
        container, = template['spec']['containers']
        assert {port['containerPort'] for port in container['ports']} == ports == {2222}
        assert container['securityContext']['readOnlyRootFilesystem'] is True
        assert container['securityContext']['capabilities'] == {'drop': ['ALL']}
        command, flags = parse(container['args'])
        assert command == 'cluster'
        assert flags['run'] == 'runs/cluster' and flags['resume'] is True
