"""Atomic writes, json, locks and progress."""

import os
import subprocess
import sys

import pytest

from permafrost import files


def test_files_appear_complete_with_ordinary_permissions(tmp_path):
    path = tmp_path / 'a.json'
    files.write_json(str(path), {'b': 1, 'a': [2]})
    assert path.read_text() == '{\n  "a": [\n    2\n  ],\n  "b": 1\n}\n'
    assert path.stat().st_mode & 0o777 == 0o644
    assert os.listdir(str(tmp_path)) == ['a.json']


def test_a_failed_write_changes_nothing_and_leaves_nothing(tmp_path, monkeypatch):
    first, second = str(tmp_path / 'first'), str(tmp_path / 'second')
    files.write_files_atomically({first: 'old', second: b'old'})

    def fail(handle):
        raise OSError(28, 'No space left on device')
    monkeypatch.setattr(os, 'fsync', fail)
    with pytest.raises(OSError):
        files.write_files_atomically({first: 'new', second: 'new'})
    assert open(first).read() == open(second).read() == 'old'
    assert sorted(os.listdir(str(tmp_path))) == ['first', 'second']


def test_reading_json_gives_the_default_for_missing_and_damaged_files(tmp_path):
    path = tmp_path / 'a.json'
    assert files.read_json(str(path), {}) == {}
    path.write_text('{"a": ')
    assert files.read_json(str(path), {}) == {}
    path.write_text('[1]')
    assert files.read_json(str(path), {}) == [1]


def test_the_cache_directory_follows_the_environment(monkeypatch):
    monkeypatch.setenv('PERMAFROST_CACHE', '~/elsewhere')
    assert files.cache_dir() == os.path.expanduser('~/elsewhere')
    monkeypatch.delenv('PERMAFROST_CACHE')
    assert files.cache_dir() == os.path.expanduser('~/.cache/permafrost')


def test_a_second_process_waits_for_the_lock_and_a_dead_one_releases_it(tmp_path):
    path = str(tmp_path / 'lock')
    holder = subprocess.Popen(
        [sys.executable, '-c', 'import fcntl, sys; s = open(sys.argv[1], "a"); '
         'fcntl.flock(s, fcntl.LOCK_EX); print("held", flush=True); sys.stdin.read()', path],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdout.readline() == b'held\n'
    waits = []

    def on_wait():
        waits.append(1)
        holder.kill()
        holder.wait()
    with files.locked(path, on_wait):
        assert waits == [1]
    with files.locked(path, on_wait):
        assert waits == [1]
    holder.stdin.close()
    holder.stdout.close()


def test_progress_in_a_log_is_a_line_every_fifth_of_the_way(monkeypatch):
    monkeypatch.setattr(sys.stderr, 'isatty', lambda: False, raising=False)
    lines = []
    with files.Progress('data', 10 * 10**6, lines.append) as progress:
        for _ in range(10):
            progress.add(10**6)
    assert lines == [f'data: {n} of 10 MB' for n in (2, 4, 6, 8, 10)]
