"""What a process whose main thread is held says when it leaves."""

import pytest

from permafrost.cluster import watchdog


class Left(BaseException):
    """In place of the end of the process."""


def _leave(watcher, monkeypatch):
    def leave(code, message):
        raise Left(code, message)
    monkeypatch.setattr(watchdog, '_exit', leave)
    with pytest.raises(Left) as left:
        watcher._leave()
    return left.value.args


def _fail():
    raise OSError('No space left on device')


def test_leaving_unsaved_is_a_failure(monkeypatch):
    watcher = watchdog.Watchdog({}, 1.)
    watcher._code, watcher.rescue = 143, _fail
    code, message = _leave(watcher, monkeypatch)
    assert code == 1 and 'could not save (No space left on device)' in message


def test_leaving_saved_is_none(monkeypatch):
    watcher = watchdog.Watchdog({}, 1.)
    watcher._code = 143
    assert _leave(watcher, monkeypatch) == (143, '')
    watcher.saved(_fail)  # what comes after matters no more
    assert _leave(watcher, monkeypatch) == (143, '')


def test_a_signal_ends_well_only_what_is_saved(monkeypatch):
    watcher = watchdog.Watchdog({}, 1.)
    watcher._code = 143
    watcher.leaving(saves=True)
    code, message = _leave(watcher, monkeypatch)
    assert code == 1 and 'could not save (all tasks answer)' in message
    watcher.kept()
    assert _leave(watcher, monkeypatch) == (143, '')
    watcher.leaving(saves=False)  # a worker that is not the chief
    assert _leave(watcher, monkeypatch) == (143, '')


def test_what_takes_too_long_is_not_saved(monkeypatch):
    monkeypatch.setattr(watchdog, 'SAVE_SECS', 0.)
    watcher, done = watchdog.Watchdog({}, 1.), watchdog.threading.Event()
    watcher._code, watcher.rescue = 130, done.wait
    assert _leave(watcher, monkeypatch)[0] == 1
    done.set()
