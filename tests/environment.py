"""Helpers for tests that need a small disk, or an engine with bfloat16."""

import contextlib
import os
import subprocess

import pytest

from permafrost import engines

needs_bfloat16 = pytest.mark.skipif(engines.installed() != 'tf2', reason='only tf2 has bfloat16')


@contextlib.contextmanager
def small_disk(directory, size):
    """Context in which `directory` is on a file system of `size`, such as '64k'."""
    mount = ['mount', '-t', 'tmpfs', '-o', f'size={size}', 'tmpfs', str(directory)]
    if os.geteuid() or subprocess.call(mount, stderr=subprocess.DEVNULL):
        pytest.skip('only root can mount a small tmpfs')
    try:
        yield
    finally:
        subprocess.check_call(['umount', '-l', str(directory)])
