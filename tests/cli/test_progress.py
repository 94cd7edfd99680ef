"""Progress in a log."""

import sys

from permafrost.cli.progress import Progress


def test_progress_in_a_log_is_a_line_every_fifth_of_the_way(monkeypatch):
    monkeypatch.setattr(sys.stderr, 'isatty', lambda: False, raising=False)
    lines = []
    with Progress('data', 10 * 10**6, lines.append) as progress:
        for _ in range(10):
            progress.add(10**6)
    assert lines == [f'data: {n} of 10 MB' for n in (2, 4, 6, 8, 10)]
