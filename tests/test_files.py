"""Atomic writes, json, locks and progress."""

import errno
import os
import socket
import subprocess
import sys

import pytest

from permafrost import files


@pytest.mark.parametrize('umask, mode', [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_files_appear_complete_with_the_permissions_of_the_umask(tmp_path, umask, mode):
    path = tmp_path / 'a.json'
    before = os.umask(umask)
    try:
        files.write_json(str(path), {'b': 1, 'a': [2]})
    finally:
        os.umask(before)
    assert path.read_text() == '{\n  "a": [\n    2\n  ],\n  "b": 1\n}\n'
    assert path.stat().st_mode & 0o777 == mode
    assert os.listdir(str(tmp_path)) == ['a.json']


def test_content_and_name_are_on_the_disk_before_a_write_returns(tmp_path, monkeypatch):
    path, calls = str(tmp_path / 'a'), []
    fsync, replace = os.fsync, os.replace

    def record_fsync(handle):
        calls.append(os.path.basename(os.readlink(f'/proc/self/fd/{handle}')))
        fsync(handle)

    def record_replace(source, target):
        calls.append('rename')
        replace(source, target)
    monkeypatch.setattr(os, 'fsync', record_fsync)
    monkeypatch.setattr(os, 'replace', record_replace)
    files.write_atomically(path, 'text')
    assert calls[1:] == ['rename', tmp_path.name] and calls[0].startswith('.a.')


def test_new_folders_are_on_the_disk_too(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(files, 'sync', synced.append)
    files.make_folder(str(tmp_path / 'a' / 'b'))
    files.make_folder(str(tmp_path / 'a' / 'b'))
    assert (tmp_path / 'a' / 'b').is_dir()
    assert synced == [str(tmp_path), str(tmp_path / 'a'), str(tmp_path / 'a')]
    (tmp_path / 'file').write_text('')
    with pytest.raises(FileExistsError):
        files.make_folder(str(tmp_path / 'file'))


@pytest.mark.parametrize('number', [errno.EINVAL, errno.EOPNOTSUPP])
def test_a_file_system_without_fsync_is_written_to(tmp_path, monkeypatch, number):
    def refuse(handle):
        raise OSError(number, os.strerror(number))
    monkeypatch.setattr(os, 'fsync', refuse)
    files.write_atomically(str(tmp_path / 'a'), 'text')
    assert (tmp_path / 'a').read_text() == 'text'


def test_a_volume_that_refuses_chmod_is_written_to(tmp_path, monkeypatch):
    def refuse(*unused):
        raise PermissionError(errno.EPERM, 'Operation not permitted')
    monkeypatch.setattr(os, 'chmod', refuse)
    monkeypatch.setattr(os, 'fchmod', refuse)
    files.write_atomically(str(tmp_path / 'a'), 'text')
    assert (tmp_path / 'a').read_text() == 'text'


def test_a_killed_write_leaves_a_file_that_a_later_one_removes(tmp_path):
    for name, age in [('.a.01234567.tmp', 7200), ('.a.89abcdef.tmp', 60), ('.b.0.tmp', 7200)]:
        (tmp_path / name).write_text('half')
        then = os.stat(str(tmp_path / name)).st_mtime - age
        os.utime(str(tmp_path / name), (then, then))
    files.write_atomically(str(tmp_path / 'a'), 'text')
    assert sorted(os.listdir(str(tmp_path))) == ['.a.89abcdef.tmp', '.b.0.tmp', 'a']


@pytest.mark.parametrize('number', [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_worked_on_with_a_note(tmp_path, monkeypatch, capsys,
                                                              number):
    def refuse(*unused):
        raise OSError(number, os.strerror(number))
    monkeypatch.setattr(files.fcntl, 'flock', refuse)
    path = str(tmp_path / 'lock')
    for _ in range(2):  # one note
        with files.locked(path, pytest.fail):
            assert files.is_locked(path) is None
    assert capsys.readouterr().out == (f'note: {tmp_path} is on a file system without locks: '
                                       'make sure that no second process writes there\n')


def test_a_failed_write_changes_nothing_and_leaves_nothing(tmp_path, monkeypatch):
    first, second = str(tmp_path / 'first'), str(tmp_path / 'second')
    files.write_files_atomically({first: 'old', second: b'old'})

    def fail(handle):
        raise OSError(28, 'No space left on device')
    monkeypatch.setattr(os, 'fsync', fail)
    with pytest.raises(OSError) as full:
        files.write_files_atomically({first: 'new', second: 'new'})
    assert full.value.filename == first
    assert open(first).read() == open(second).read() == 'old'
    with pytest.raises(FileNotFoundError) as error:
        files.write_atomically(str(tmp_path / 'none' / 'first'), 'new')
    assert error.value.filename == str(tmp_path / 'none' / 'first')
    assert sorted(os.listdir(str(tmp_path))) == ['first', 'second']


def test_a_pipe_is_not_replaced(tmp_path):
    os.mkfifo(str(tmp_path / 'pipe'))
    with pytest.raises(OSError, match='not a regular file'):
        files.write_atomically(str(tmp_path / 'pipe'), 'new')
    assert os.listdir(str(tmp_path)) == ['pipe'] and not os.path.isfile(str(tmp_path / 'pipe'))


@pytest.mark.parametrize('content, value', [
    (b'[1]', [1]), (b'\xef\xbb\xbf{"a": "\xc3\xa9"}', {'a': 'é'}),
    (b'[' + b'9' * 39 + b', -' + b'9' * 10**6 + b', 1e400]',
     [10**39 - 1, float('-inf'), float('inf')])])
def test_json_is_read(tmp_path, content, value):
    (tmp_path / 'a.json').write_bytes(content)
    assert files.read_json(str(tmp_path / 'a.json')) == value


@pytest.mark.parametrize('content, reason', [
    (b'', 'Expecting value'), (b'{"a": ', 'Expecting value'), (b'\xff', 'utf-8'),
    (b'[' * 100000, 'too many brackets'), (b'{"a": 1, "a": 2}', "'a' is there twice"),
    (b'[' + b'[],' * 4100000, 'items'), (b' ' * 64000001, 'more than 64 MB')],
    ids=['empty', 'cut', 'binary', 'deep', 'twice', 'items', 'size'])  # else the name is 64 MB
def test_what_is_no_json_or_too_large_is_refused(tmp_path, content, reason):
    (tmp_path / 'a.json').write_bytes(content)
    with pytest.raises(ValueError, match=reason):
        files.read_json(str(tmp_path / 'a.json'))


def test_only_regular_files_are_opened(tmp_path):
    os.mkfifo(str(tmp_path / 'pipe'))
    for path in ('/dev/zero', '/dev/null', str(tmp_path), str(tmp_path / 'pipe')):
        with pytest.raises(OSError, match='not a regular file'):
            files.open_regular(path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / 'socket'))
        with pytest.raises(OSError):
            files.open_regular(str(tmp_path / 'socket'))
    with pytest.raises(FileNotFoundError):
        files.open_regular(str(tmp_path / 'none'))


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
    assert files.is_locked(path)
    with files.locked(path, on_wait):
        assert waits == [1]
    assert not files.is_locked(path)
    with files.locked(path, on_wait):
        assert waits == [1]
    holder.stdin.close()
    holder.stdout.close()
