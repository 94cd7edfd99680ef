"""A temporary file of label_image is gone however the program ends."""

import os
import signal

import pytest

from tests.label_image.program import FOLDER, ROOT, execute


@pytest.mark.parametrize('end, message', [
    ('crash', 'crashed while it was loaded: signal 11'), ('memory', 'not enough memory'),
    ('TERM', ''), ('INT', ''), ('HUP', '')])
def test_no_end_leaves_a_file(program, tmp_path, monkeypatch, end, message):
    del program  # it builds the objects
    objects = [os.path.join(FOLDER, 'build', name + '.o') for name in (
        'error', 'file', 'process/control_groups', 'process/crash_handler', 'process/memory_limit',
        'process/proc_file', 'process/temporary_file')]
    path, folder = str(tmp_path / 'end'), tmp_path / 'temporary'
    built = execute('g++', '-std=c++17', '-I' + FOLDER, '-o', path,
                    os.path.join(ROOT, 'tests', 'label_image', 'crash.cc'), *objects, '-ldl',
                    '-pthread')
    assert built.returncode == 0, built.stderr
    folder.mkdir()
    monkeypatch.setenv('TMPDIR', str(folder))
    done = execute(path, end)
    number = getattr(signal, 'SIG' + end, None)
    assert done.returncode == (-number if number else 1) and message in done.stderr
    assert os.listdir(str(folder)) == []
