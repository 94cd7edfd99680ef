"""The processors that label_image uses, as permafrost.machine counts them."""

import os

import pytest

from permafrost import machine
from tests.label_image.program import FOLDER, execute
from tests.processes import ROOT
from tests.test_machine import QUOTAS, write_groups


@pytest.fixture(scope='module')
def quota(program, tmp_path_factory):
    """quota(root): the quota in C++."""
    del program  # it builds the objects
    path = str(tmp_path_factory.mktemp('quota') / 'cpu_quota')
    objects = [os.path.join(FOLDER, 'build', name + '.o') for name in (
        'error', 'backends/processor')]
    built = execute('g++', '-std=c++17', '-I' + FOLDER, '-o', path,
                    os.path.join(ROOT, 'tests', 'label_image', 'cpu_quota.cc'), *objects)
    assert built.returncode == 0, built.stderr
    return lambda root: float(execute(path, root).stdout)


@pytest.mark.parametrize('groups, files', [each[:2] for each in QUOTAS])
def test_the_quota_is_that_of_python(groups, files, quota, tmp_path):
    write_groups(tmp_path, groups, {f'sys/fs/cgroup/{name}': text for name, text in files.items()})
    assert quota(str(tmp_path)) == (machine.cpu_quota(str(tmp_path)) or 1e9)
