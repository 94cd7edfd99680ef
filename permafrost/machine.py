"""The machine, or the container that limits it: its processor, cores and memory.

Imports neither NumPy nor TensorFlow.
"""

import math
import os
import pathlib
import re
from typing import Any, Optional

CGROUP_MEMORY = (  # versions 2 and 1
    ('memory.max', 'memory.current', 'memory.stat', 'inactive_file'),
    ('memory/memory.limit_in_bytes', 'memory/memory.usage_in_bytes', 'memory/memory.stat',
     'total_inactive_file'))


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
    counts, of a group and all that it is part of. `root` is the root of the file system.
    """
    quotas = []
    for line in _read(root, 'proc/self/cgroup').splitlines():
        _, controllers, group = line.split(':', 2)
        if controllers and 'cpu' not in controllers.split(','):
            continue
        folder = pathlib.PurePosixPath('sys/fs/cgroup', controllers and 'cpu', group.lstrip('/'))
        # A container may see its own group at the top, and not at the path that the host knows.
        for each in [folder, *folder.parents]:
            quota, period = (
                [_read(root, each / f'cpu.cfs_{name}_us') for name in ('quota', 'period')]
                if controllers else (_read(root, each / 'cpu.max') or 'max 0').split())
            if quota.strip().isdigit():  # 'max' and -1 mean no limit
                quotas.append(int(quota) / int(period))
    return min(quotas, default=None)


def available_memory(root: str = '/') -> Optional[int]:
    """Return the bytes that the machine has left, or its container if that is less; None: unknown.
    """
    available = kilobytes('proc/meminfo', 'MemAvailable', root)
    for limit, usage, statistics, cache in CGROUP_MEMORY:
        most, used = (_read(root, f'sys/fs/cgroup/{name}').strip() for name in (limit, usage))
        if most.isdigit() and used.isdigit():
            # Usage counts files in the cache, which the kernel drops when memory is needed.
            text = _read(root, f'sys/fs/cgroup/{statistics}')
            cached = sum(map(int, re.findall(rf'^{cache} (\d+)$', text, re.M)))
            left = max(0, int(most) - int(used) + cached)
            available = left if available is None else min(available, left)
    return available


def kilobytes(path: str, key: str, root: str = '/') -> Optional[int]:
    """Return the bytes of the line '`key`: N kB' in a file of /proc; None if there is none."""
    match = re.search(rf'^{key}:\s+(\d+) kB', _read(root, path), re.M)
    return int(match.group(1)) << 10 if match else None


def _read(root: str, path: Any) -> str:
    """Return the text of a file below `root`, '' if there is none."""
    try:
        return pathlib.Path(root, path).read_text()
    except OSError:
        return ''
