"""The processors and the memory that label_image uses, as permafrost.machine counts them."""

import os

import pytest

from permafrost import machine
from tests.label_image.program import FOLDER, execute
from tests.processes import ROOT
from tests.test_machine import QUOTAS, write_groups


@pytest.fixture(scope='module')
def limits(program, tmp_path_factory):
    """limits(root): the quota and the available memory in C++."""
    del program  # it builds the objects
    path = str(tmp_path_factory.mktemp('limits') / 'machine')
    objects = [os.path.join(FOLDER, 'build', name + '.o') for name in (
        'error', 'backends/processor', 'process/control_groups', 'process/memory_limit',
        'process/proc_file', 'process/temporary_file', 'file', 'text')]
    built = execute('g++', '-std=c++17', '-I' + FOLDER, '-o', path,
                    os.path.join(ROOT, 'tests', 'label_image', 'machine.cc'), *objects)
    assert built.returncode == 0, built.stderr
    return lambda root: [float(word) for word in execute(path, root).stdout.split()]


@pytest.mark.parametrize('groups, files', [each[:2] for each in QUOTAS])
def test_the_quota_is_that_of_python(groups, files, limits, tmp_path):
    write_groups(tmp_path, groups, {f'sys/fs/cgroup/{name}': text for name, text in files.items()})
    assert limits(str(tmp_path))[0] == (machine.cpu_quota(str(tmp_path)) or 1e9)


# By version of control groups: the lines of /proc/self/cgroup, and the files of the memory.
MEMORY = {2: ('0::/slurm/job1\n', '', 'memory.max', 'memory.current', 'inactive_file'),
          1: ('3:cpu,memory:/slurm/job1\n0::/\n', 'memory/', 'memory.limit_in_bytes',
              'memory.usage_in_bytes', 'total_inactive_file')}


@pytest.mark.parametrize('version', MEMORY)
@pytest.mark.parametrize('sizes, left', [
    ({}, 9000 << 10), ({'': (8000, 1000, 500)}, 7500),
    ({'slurm/job1': (5000, 2000, 0), 'slurm': (9000, 3000, 0)}, 3000),
    ({'slurm/job1': (5000, 2000, 0), 'slurm': (9000, 8000, 1000)}, 2000),
    ({'slurm/job1': ('max', 2000, 0), 'slurm/job2': (5000, 4999, 0)}, 9000 << 10)])
def test_the_available_memory_is_that_of_python(version, sizes, left, limits, tmp_path):
    groups, top, limit, usage, cache = MEMORY[version]
    files = {'proc/meminfo': 'MemTotal: 9999 kB\nMemAvailable: 9000 kB\n'}
    for group, (most, used, cached) in sizes.items():
        for name, text in ((limit, most), (usage, used),
                           ('memory.stat', f'anon 1\n{cache} {cached}')):
            files[f'sys/fs/cgroup/{top}{group}/{name}'] = f'{text}\n'
    write_groups(tmp_path, groups, files)
    assert limits(str(tmp_path))[1] == left == machine.available_memory(str(tmp_path))
