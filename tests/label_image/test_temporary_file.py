"""A temporary file of label_image is gone however the program ends."""

import os
import signal

import pytest

from tests.label_image.program import FOLDER, ROOT, execute


@pytest.fixture(scope='module')
def crash(program, tmp_path_factory):
    """Return the path of crash.cc's program."""
    del program  # it builds the objects
    objects = [os.path.join(FOLDER, 'build', name + '.o') for name in (
        'error', 'file', 'process/control_groups', 'process/crash_handler', 'process/memory_limit',
        'process/proc_file', 'process/temporary_file', 'text')]
    path = str(tmp_path_factory.mktemp('crash') / 'crash')
    built = execute('g++', '-std=c++17', '-I' + FOLDER, '-o', path,
                    os.path.join(ROOT, 'tests', 'label_image', 'crash.cc'), *objects, '-ldl',
                    '-pthread')
    assert built.returncode == 0, built.stderr
    return path


@pytest.mark.parametrize('end, message', [
    ('crash', 'crashed while it was loaded: signal 11'),
    ('abort', 'crashed while it was loaded: signal 6 (aborted)\n'),
    ('check', 'crashed while it was loaded: Check failed: 1 == 2\n'),
    ('memory', 'not enough memory'), ('TERM', ''), ('INT', ''), ('HUP', '')])
def test_no_end_leaves_a_file(crash, tmp_path, monkeypatch, end, message):
    monkeypatch.setenv('TMPDIR', str(tmp_path))
    done = execute(crash, end)
    number = getattr(signal, 'SIG' + end, None)
    assert done.returncode == (-number if number else 1) and message in done.stderr
    assert os.listdir(str(tmp_path)) == []
