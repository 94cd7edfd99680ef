"""How far something is: a bar on a terminal; in a log, a line every fifth of the way."""

import sys


class Progress:
    """Counts up to `total`, which may be None: unknown. Use as a context manager.

    `unit` 'B' is bytes, shown in MB. `say` prints a line in a log.
    """

    def __init__(self, title, total, say, unit='B'):
        self._title, self._total, self._done, self._said = title, total, 0, 0
        self._say, self._unit = say, unit
        self._bar = None
        if sys.stderr.isatty():
            import tqdm
            self._bar = tqdm.tqdm(desc=title, total=total, unit=unit if unit == 'B' else ' ' + unit,
                                  unit_scale=unit == 'B')

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        if self._bar is not None:
            self._bar.close()

    def add(self, count):
        self._done += count
        if self._bar is not None:
            self._bar.update(count)
        elif self._total and self._done * 5 // self._total > self._said:
            self._said = self._done * 5 // self._total
            scale, unit = (10**6, 'MB') if self._unit == 'B' else (1, self._unit)
            self._say('%s: %d of %d %s' % (self._title, self._done // scale,
                                           self._total // scale, unit))
