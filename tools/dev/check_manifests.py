"""Checks Kubernetes manifests against the models of its API and of Kubeflow's training operator.

    .venv/lint/bin/python tools/check_manifests.py deploy/kubernetes/*.yaml

The models are those of their Python clients, which are generated from the same sources as the
schemas of the servers. A field that a model does not have is refused, as are a value of another
type and a required one that is missing.
"""

import difflib
import re
import sys

import kubernetes.client
import yaml
from kubeflow.training import models

KINDS = {
    ('kubeflow.org/v1', 'TFJob'): 'KubeflowOrgV1TFJob',
    ('v1', 'PersistentVolumeClaim'): 'V1PersistentVolumeClaim',
    ('networking.k8s.io/v1', 'NetworkPolicy'): 'V1NetworkPolicy',
    ('batch/v1', 'Job'): 'V1Job',
}
# What the operator takes, which its model leaves open.
REPLICAS = ('PS', 'Worker', 'Chief', 'Master', 'Evaluator')
ONE_OF = {
    ('KubeflowOrgV1ReplicaSpec', 'restartPolicy'): ('Always', 'OnFailure', 'Never', 'ExitCode'),
    ('KubeflowOrgV1RunPolicy', 'cleanPodPolicy'): ('All', 'Running', 'None'),
}
PLAIN = {'str': str, 'int': int, 'bool': bool, 'float': float, 'object': object}


class Wrong(Exception):
    """What is wrong with a manifest, and where in it."""


def check(value, kind, where):
    """What the client makes of `value`, which must be a `kind`, a name as its models have them.

    Raises Wrong.
    """
    container = re.match(r'(list|dict)[(\[](?:str, )?(.*)[)\]]$', kind)
    if container:
        wanted = {'list': list, 'dict': dict}[container.group(1)]
        must(isinstance(value, wanted), where, 'is %r, not a %s' % (value, wanted.__name__))
        items = value.items() if wanted is dict else enumerate(value)
        made = {key: check(item, container.group(2), '%s.%s' % (where, key))
                for key, item in items}
        return made if wanted is dict else list(made.values())
    if kind in PLAIN:
        right = isinstance(value, PLAIN[kind]) and (kind != 'int' or not isinstance(value, bool))
        must(right, where, 'is %r, not of type %s' % (value, kind))
        return value
    model = getattr(models, kind, None) or getattr(kubernetes.client, kind)
    must(isinstance(value, dict), where, 'is %r, not a mapping' % (value,))
    fields = {name: attribute for attribute, name in model.attribute_map.items()}
    made = {}
    for name, item in value.items():
        must(name in fields, where, 'has no field %r%s (there are: %s)' % (
            name, ''.join('; did you mean %s?' % near
                          for near in difflib.get_close_matches(name, fields, 1)),
            ', '.join(sorted(fields))))
        allowed = ONE_OF.get((kind, name))
        must(not allowed or item in allowed, where, '%s is %r (there are: %s)' % (
            name, item, ', '.join(allowed or ())))
        made[fields[name]] = check(item, model.openapi_types[fields[name]],
                                   '%s.%s' % (where, name))
    try:
        return model(**made)
    except ValueError as error:  # the client's own: what is required, lengths, patterns
        raise Wrong('%s: %s' % (where, error))


def must(true, where, message):
    if not true:
        raise Wrong('%s: %s' % (where, message))


def check_job(job):
    """What the operator asks of a TFJob beyond its schema."""
    for name, replica in job['spec']['tfReplicaSpecs'].items():
        must(name in REPLICAS, 'tfReplicaSpecs', 'has no %r (there are: %s)' % (
            name, ', '.join(REPLICAS)))
        names = [container['name'] for container in replica['template']['spec']['containers']]
        must('tensorflow' in names, name, 'no container is called tensorflow, but %s' % names)


def check_file(path):
    """How many objects the manifest at `path` has. Raises Wrong."""
    with open(path) as stream:
        documents = list(yaml.safe_load_all(stream))
    for number, document in enumerate(documents):
        where = '%s, object %d' % (path, number + 1)
        must(isinstance(document, dict), where, 'is empty')
        kind = document.get('apiVersion'), document.get('kind')
        must(kind in KINDS, where, 'is of unknown kind %s %s (there are: %s)' % (
            kind + (', '.join('%s %s' % known for known in sorted(KINDS)),)))
        check(document, KINDS[kind], where)
        if kind[1] == 'TFJob':
            check_job(document)
    return len(documents)


def main():
    if len(sys.argv) < 2:
        print('usage: tools/check_manifests.py FILE.yaml...', file=sys.stderr)
        return 2
    count, failed = 0, False
    for path in sys.argv[1:]:
        try:
            count += check_file(path)
        except (Wrong, OSError, yaml.YAMLError) as error:
            failed = True
            print('error: %s' % ' '.join(str(error).split()), file=sys.stderr)
    if not failed:
        print('%d objects are as their models ask' % count)
    return int(failed)


if __name__ == '__main__':
    sys.exit(main())
