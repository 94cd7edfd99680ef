"""The machine, or the container that limits it: its processor, cores and memory.

Imports neither NumPy nor TensorFlow.
"""

import math
import os
import pathlib
import re
from typing import Any, Iterator, Optional, Tuple

# By version of control groups: the files of the limit, the usage and the statistics, and the line
# of the latter that counts the cache.
CGROUP_MEMORY = {
    2: ('memory.max', 'memory.current', 'memory.stat', 'inactive_file'),
    1: ('memory.limit_in_bytes', 'memory.usage_in_bytes', 'memory.stat', 'total_inactive_file')}


def cpu_info(field: str) -> str:
    """Return a `field` of the first processor, such as 'flags'; '' if it is unknown."""
    try:
        with open('/proc/cpuinfo') as stream:
            return next((line.split(':')[1].strip() for line in stream
                         if line.startswith(field)), '')
    except OSError:  # not Linux
        return ''


def cores() -> int:
    """Return the number of cores that this process may use, at most its CPU quota, rounded up."""
    return max(1, min(processors(), math.ceil(cpu_quota() or processors())))


def processors() -> int:
    """Return the number of processors that this process may run on."""
    if hasattr(os, 'sched_getaffinity'):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1  # not Linux


def cpu_quota(root: str = '/') -> Optional[float]:
    """Return how many cores the control groups of this process let it use; None: no limit.

    A container has one of its own (`docker run --cpus`, Kubernetes' limits). The smallest quota
    counts. `root` is the root of the file system.
    """
    quotas = []
    for version, folder in _control_groups(root, 'cpu'):
        quota, period = (
            (_read(root, folder / 'cpu.max') or 'max 0').split() if version == 2 else
            [_read(root, folder / f'cpu.cfs_{name}_us') for name in ('quota', 'period')])
        if quota.strip().isdigit():  # 'max' and -1 mean no limit
            quotas.append(int(quota) / int(period))
    return min(quotas, default=None)


def available_memory(root: str = '/') -> Optional[int]:
    """Return the bytes that the machine has left, or its container if that is less; None: unknown.

    `root` is the root of the file system.
    """
    available = proc_bytes('proc/meminfo', 'MemAvailable', root)
    for version, folder in _control_groups(root, 'memory'):
        limit, usage, statistics, cache = CGROUP_MEMORY[version]
        most, used = (_read(root, folder / name).strip() for name in (limit, usage))
        if most.isdigit() and used.isdigit():
            # Usage counts files in the cache, which the kernel drops when memory is needed.
            text = _read(root, folder / statistics)
            cached = sum(map(int, re.findall(rf'^{cache} (\d+)$', text, re.M)))
            left = max(0, int(most) - int(used) + cached)
            available = left if available is None else min(available, left)
    return available


def _control_groups(root: str, controller: str) -> Iterator[Tuple[int, pathlib.PurePosixPath]]:
    """Yield (version, folder) of this process's group for `controller`, and of all it is part of.

    A container may see its own group at the top, and not at the path that the host knows.
    """
    # Without /proc, a container's group is at the top.
    lines = _read(root, 'proc/self/cgroup').splitlines() or ['0::/', f'1:{controller}:/']
    for line in lines:
        _, controllers, group = line.split(':', 2)
        if controllers and controller not in controllers.split(','):
            continue
        version = 1 if controllers else 2  # version 1 has a folder for each controller
        top = pathlib.PurePosixPath('sys/fs/cgroup', controllers and controller)
        path = pathlib.PurePosixPath(group.lstrip('/'))
        for each in (path, *path.parents):
            yield version, top / each


def proc_bytes(path: str, key: str, root: str = '/') -> Optional[int]:
    """Return the bytes of the line '`key`: N kB' in a file of /proc; None if there is none."""
    match = re.search(rf'^{key}:\s+(\d+) kB', _read(root, path), re.M)
    return int(match.group(1)) << 10 if match else None


def _read(root: str, path: Any) -> str:
    """Return the text of a file below `root`, '' if there is none."""
    try:
        return pathlib.Path(root, path).read_text()
    except OSError:
        return ''
