"""The machine: its quota of cores, its memory."""

import pytest

from permafrost import engines, machine


def write_groups(root, groups, files):
    """Make the files of /proc and /sys that describe the control groups of a process."""
    for name, text in {'proc/self/cgroup': groups, **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


# Lines of /proc/self/cgroup, the files of the control groups, and the quota that they give.
QUOTAS = [
    ('', {}, None),
    # version 2: a container sees its group at the top; a host sees it below its parents
    ('0::/\n', {'cpu.max': '150000 100000\n'}, 1.5),
    ('0::/\n', {'cpu.max': 'max 100000\n'}, None),
    ('0::/user.slice/a b\n', {'user.slice/a b/cpu.max': 'max 100000\n',
                              'user.slice/cpu.max': '50000 100000\n'}, 0.5),
    ('0::/a\n', {'a/cpu.max': '200000 100000\n', 'cpu.max': '300000 100000\n'}, 2),
    # version 1: the same, with a folder for each controller
    ('4:cpu,cpuacct:/docker/1\n3:cpuset:/\n0::/\n',
     {'cpu/cpu.cfs_quota_us': '250000\n', 'cpu/cpu.cfs_period_us': '100000\n'}, 2.5),
    ('1:cpu:/a\n', {'cpu/a/cpu.cfs_quota_us': '-1\n', 'cpu/a/cpu.cfs_period_us': '100000\n'}, None),
    ('1:cpuacct:/a\n', {'cpu/a/cpu.cfs_quota_us': '1\n', 'cpu/a/cpu.cfs_period_us': '1\n'}, None),
]


@pytest.mark.parametrize('groups, files, quota', QUOTAS)
def test_the_smallest_quota_of_the_control_groups_counts(tmp_path, groups, files, quota):
    write_groups(tmp_path, groups, {f'sys/fs/cgroup/{name}': text for name, text in files.items()})
    assert machine.cpu_quota(str(tmp_path)) == quota


@pytest.mark.parametrize('quota, expected', [
    (None, 4), (0.1, 1), (1, 1), (1.2, 2), (3.5, 4), (64, 4)])
def test_threads_follow_the_quota_rounded_up(monkeypatch, quota, expected):
    monkeypatch.setattr(machine, 'cpu_quota', lambda: quota)
    monkeypatch.setattr(machine, 'processors', lambda: 4)
    assert machine.cores() == expected
    assert engines.threads('tf2') == (expected, expected)


MEMORY = [  # the files of versions 2 and 1, and the line of the cache
    ('memory.max', 'memory.current', 'memory.stat', 'inactive_file'),
    ('memory/memory.limit_in_bytes', 'memory/memory.usage_in_bytes', 'memory/memory.stat',
     'total_inactive_file')]


@pytest.mark.parametrize('names', MEMORY)
@pytest.mark.parametrize('groups', ['', '4:memory:/docker/1\n0::/\n'])
def test_available_memory_is_that_of_the_container_if_it_has_less(tmp_path, names, groups):
    write_groups(tmp_path, groups, {})
    (tmp_path / 'proc/meminfo').write_text('MemTotal: 9 kB\nMemAvailable:    4 kB\n')
    assert machine.available_memory(str(tmp_path)) == 4096
    limit, usage, statistics, cache = names
    for name, text in ((limit, '5000\n'), (usage, '2000\n')):
        path = tmp_path / 'sys/fs/cgroup' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert machine.available_memory(str(tmp_path)) == 3000
    path.write_text('5000\n')
    assert machine.available_memory(str(tmp_path)) == 0
    # Files in the cache make way for what is needed.
    (tmp_path / 'sys/fs/cgroup' / statistics).write_text(f'anon 1\n{cache} 1500\nfile 9\n')
    assert machine.available_memory(str(tmp_path)) == 1500


@pytest.mark.parametrize('groups, top, names', [
    ('0::/slurm/job1\n', '', MEMORY[0]), ('3:memory:/slurm/job1\n0::/\n', 'memory/', MEMORY[1])])
def test_the_group_with_the_least_memory_left_counts(tmp_path, groups, top, names):
    """A host sees the group of a job below its parents."""
    limit, usage, *_ = (name.split('/')[-1] for name in names)

    def write(group, most, used):
        write_groups(tmp_path, groups, {
            f'sys/fs/cgroup/{top}{group}/{limit}': f'{most}\n',
            f'sys/fs/cgroup/{top}{group}/{usage}': f'{used}\n'})

    write('slurm/job1', 5000, 2000)
    assert machine.available_memory(str(tmp_path)) == 3000
    write('slurm', 9000, 8000)
    assert machine.available_memory(str(tmp_path)) == 1000
    write('slurm/job2', 5000, 4999)  # not this process's
    assert machine.available_memory(str(tmp_path)) == 1000
