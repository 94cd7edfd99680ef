"""Progress of work that is counted: a bar on a terminal, lines in a log."""

from typing import Callable, Optional


class Progress:
    """Context that shows a progress bar on a terminal; in a log, a line every fifth of the way.

    `total` is the number of units to do, None if unknown; `log` is called with each line for the
    log; `unit` is 'B' for bytes, shown in MB, or the plural that follows a number.
    """

    def __init__(self, title: str, total: Optional[int], log: Callable[[str], None],
                 unit: str = 'B'):
        self._title, self._total, self._done, self._fifths = title, total, 0, 0
        self._log, self._unit = log, unit
        import tqdm
        self._bar = tqdm.tqdm(
            desc=title, total=total, unit=unit if unit == 'B' else ' ' + unit,
            unit_scale=unit == 'B', disable=None)  # None: unless on a terminal

    def __enter__(self) -> 'Progress':
        return self

    def __exit__(self, *unused: object) -> None:
        self._bar.close()

    def add(self, count: int) -> None:
        """Count `count` more units as done."""
        self._done += count
        self._bar.update(count)
        if self._bar.disable and self._total and self._done * 5 // self._total > self._fifths:
            self._fifths = self._done * 5 // self._total
            scale, unit = (10**6, 'MB') if self._unit == 'B' else (1, self._unit)
            self._log(f'{self._title}: {self._done // scale} of {self._total // scale} {unit}')
