"""Check Kubernetes manifests: .venv/lint/bin/python tools/dev/check_manifests.py FILE.yaml...

Objects of Kubernetes are checked against its own schemas, from the package kubernetes-validate.
A TFJob is checked against the schema below, and each of its pods against that of a Pod.
"""

import sys

import jsonschema
import kubernetes_validate
import yaml

KUBERNETES = '1.37'
ERRORS = (OSError, ValueError, yaml.YAMLError, jsonschema.ValidationError,
          kubernetes_validate.SchemaNotFoundError)


def fields(required=(), **properties):
    """Return the schema of an object that has only these fields."""
    return {'type': 'object', 'additionalProperties': False, 'required': list(required),
            'properties': properties}


# kubeflow.org/v1, Training Operator 1.9: the fields that our trainings use.
REPLICA = fields(
    ['template'], replicas={'type': 'integer', 'minimum': 0},
    restartPolicy={'enum': ['Always', 'OnFailure', 'Never', 'ExitCode']},
    template={'type': 'object', 'required': ['spec']})
TFJOB = fields(
    ['metadata', 'spec'], apiVersion={'const': 'kubeflow.org/v1'}, kind={'const': 'TFJob'},
    metadata={'type': 'object', 'required': ['name']},
    spec=fields(
        ['tfReplicaSpecs'],
        runPolicy=fields(backoffLimit={'type': 'integer'},
                         cleanPodPolicy={'enum': ['All', 'Running', 'None']}),
        tfReplicaSpecs=fields(**dict.fromkeys(['PS', 'Worker', 'Chief', 'Evaluator'], REPLICA))))


def check(manifest):
    """Raise one of ERRORS if `manifest` is not valid."""
    if not isinstance(manifest, dict) or not {'apiVersion', 'kind'} <= set(manifest):
        raise ValueError('is not a Kubernetes object: apiVersion or kind is missing')
    if manifest['kind'] != 'TFJob':
        kubernetes_validate.validate(manifest, KUBERNETES, strict=True)
        return
    jsonschema.validate(manifest, TFJOB)
    for name, replica in manifest['spec']['tfReplicaSpecs'].items():
        pod = dict(replica['template'], apiVersion='v1', kind='Pod')
        kubernetes_validate.validate(pod, KUBERNETES, strict=True)
        names = [container['name'] for container in pod['spec']['containers']]
        if 'tensorflow' not in names:  # the operator sets TF_CONFIG in this one
            raise ValueError(f"{name}: no container is called 'tensorflow', only {names}")


def main(paths):
    count, failed = 0, False
    for path in paths:
        try:
            with open(path) as stream:
                for manifest in yaml.safe_load_all(stream):
                    check(manifest)
                    count += 1
        except ERRORS as error:
            failed = True
            field = '.'.join(map(str, getattr(error, 'absolute_path', ()))) or 'manifest'
            message = ' '.join(str(getattr(error, 'message', error)).split())
            print(f'error: {path}: {field}: {message}', file=sys.stderr)
    if not count and not failed:
        failed = True
        print('error: no objects to check: name files, deploy/kubernetes/*.yaml', file=sys.stderr)
    if not failed:
        print(f'{count} objects are valid')
    return int(failed)


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
