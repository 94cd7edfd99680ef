"""check_manifests.py on the manifests of deploy/kubernetes, and on copies with mistakes."""

import os
import subprocess

import pytest

from tests.processes import ROOT

PYTHON = os.path.join(ROOT, '.venv', 'lint', 'bin', 'python')
MANIFESTS = ['deploy/kubernetes/tfjob.yaml', 'deploy/kubernetes/data.yaml']
MISTAKES = [
    ('replicas: 2', 'replicas: "2"', "Worker.replicas: '2' is not of type 'integer'"),
    ('runAsNonRoot', 'runAsNonroot', "securityContext: Additional properties are not allowed "
                                     "('runAsNonroot' was unexpected)"),
    ('OnFailure', 'Onfailure', "restartPolicy: 'Onfailure' is not one of ['Always', 'OnFailure'"),
    ('name: tensorflow', 'name: tf', "no container is called 'tensorflow', only ['tf']"),
    ('    Evaluator:', '    Evaluators:', "('Evaluators' was unexpected)"),
    ('containerPort: 2222', 'protocol: TCP', "ports.0: 'containerPort' is a required property"),
    ('kind: TFJob', 'kind: TFjob', "Couldn't find schema for kind TFjob"),
    ('tfReplicaSpecs', 'replicaSpecs', "('replicaSpecs' was unexpected)"),
    ('[Ingress, Egress]', 'Ingress', "policyTypes: 'Ingress' is not of type 'array'"),
    ('apiVersion', 'version', 'is not a Kubernetes object'),
    ('spec:', 'spec: [', 'while parsing'),
]


def check(*paths):
    """Return (exit code, output) of check_manifests.py."""
    if not os.path.exists(os.path.join(os.path.dirname(PYTHON), 'mypy')):
        pytest.skip('.venv/lint has no schemas: run make lint with Python 3.10 or newer')
    done = subprocess.run([PYTHON, 'tools/dev/check_manifests.py', *map(str, paths)], cwd=ROOT,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          universal_newlines=True, timeout=120)
    assert 'Traceback' not in done.stdout
    return done.returncode, done.stdout


def test_the_manifests_are_valid():
    assert check(*MANIFESTS) == (0, '5 objects are valid\n')


def test_no_objects_are_an_error(tmp_path):
    (tmp_path / 'empty.yaml').write_text('')
    for paths in [], [tmp_path / 'empty.yaml']:
        code, output = check(*paths)
        assert code == 1 and output.startswith('error: no objects to check: name files, ')


def test_each_mistake_is_one_line_that_names_the_field(tmp_path):
    with open(os.path.join(ROOT, MANIFESTS[0])) as stream:
        text = stream.read()
    paths = []
    for number, (original, mistake, _) in enumerate(MISTAKES):
        assert original in text
        paths.append(tmp_path / f'{number}.yaml')
        paths[-1].write_text(text.replace(original, mistake))
    code, output = check(*paths, tmp_path / 'missing.yaml')
    lines = output.splitlines()
    assert code == 1 and len(lines) == len(MISTAKES) + 1
    for line, path, (_, _, message) in zip(lines, paths, MISTAKES):
        assert line.startswith(f'error: {path}: ') and message in line
    assert 'No such file' in lines[-1]
