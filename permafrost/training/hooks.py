"""What happens beside the training steps: progress, speed, summaries, saving, stopping.

Every hook is given `step`, a scalar tensor that reads the global step after the update: a plain
fetch of the variable would race with it.
"""

import math
import os
import sys
import time

import tensorflow.compat.v1 as tf
import tqdm

class StopHook(tf.train.SessionRunHook):
    """Stops at the global step `last`, or after the step in which a signal came."""

    def __init__(self, step, last, signals):
        self._step = step
        self._last = last
        self._signals = signals

    def before_run(self, unused_context):
        return tf.train.SessionRunArgs(self._step)

    def after_run(self, context, values):
        if self._signals.code or values.results >= self._last:
            context.request_stop()

    def after_create_session(self, session, coord):
        if session.run(tf.train.get_global_step()) >= self._last:
            coord.request_stop()  # others have done it: not a step more


class LoggingHook(tf.train.SessionRunHook):
    """Shows how training goes: a bar with ETA on a terminal, a line every `every` steps in a log.

    `values` is {name: scalar tensor} with at least 'loss'. Stops at a loss that is not finite:
    `divergence(step)` makes the UserError.
    """

    def __init__(self, step, values, steps, batch_size, every, divergence):
        self._fetches = dict(values, step=step)
        self._steps = steps
        self._batch_size = batch_size
        self._every = every
        self._divergence = divergence
        self._bar = None
        self._first = True
        self.images_per_second = 0.

    def after_create_session(self, session, unused_coord):
        self._seen = int(session.run(tf.train.get_global_step()))
        if not self._first:  # a cluster's server was lost: what it did since its save is undone
            self._time, self._since = time.time(), self._seen

    def before_run(self, unused_context):
        return tf.train.SessionRunArgs(self._fetches)

    def after_run(self, unused_context, run_values):
        values = dict(run_values.results)
        step = int(values.pop('step'))
        if not math.isfinite(values['loss']):
            raise self._divergence(step)
        if self._first:
            self._first = False
            self._begin(step)
        elif self._bar is not None:
            self._bar.update(step - self._bar.n)
        if _passed(self._seen, step, self._every) or step >= self._steps:
            self._log(step, values)
        self._seen = step

    def _begin(self, step):
        self._seen = step - 1  # a worker that joins late did not make those before
        print('first step after %.1f s' % (time.time() - _process_start()), flush=True)
        self._time, self._since = time.time(), step
        if sys.stderr.isatty():
            self._bar = tqdm.tqdm(total=self._steps, initial=step, unit='step',
                                  dynamic_ncols=True)

    def _log(self, step, values):
        seconds = time.time() - self._time
        if step > self._since:
            self.images_per_second = (step - self._since) * self._batch_size / seconds
            self._time, self._since = time.time(), step
        shown = ' '.join('%s %.6g' % item for item in sorted(values.items()))
        rate = '%.0f images/s' % self.images_per_second
        if self._bar is not None:
            self._bar.set_postfix_str('%s %s' % (shown, rate))
            return
        left = max(self._steps - step, 0) * self._batch_size / max(self.images_per_second, 1e-9)
        eta = ' %s ETA %d:%02d:%02d' % (rate, left // 3600, left // 60 % 60, left % 60)
        print('step %d/%d %s%s' % (step, self._steps, shown, eta if self.images_per_second else ''),
              flush=True)

    def end(self, unused_session):
        if self._bar is not None:
            self._bar.close()


def _passed(before, step, every):
    """Whether a multiple of `every` lies after step `before` and not after `step`.

    In a cluster the steps between may be other workers'.
    """
    return step // every > before // every


def _process_start():
    """Seconds since the epoch at which this process began."""
    try:
        with open('/proc/self/stat') as stream:
            ticks = float(stream.read().rsplit(')', 1)[1].split()[19])
        with open('/proc/uptime') as stream:
            uptime = float(stream.read().split()[0])
        return time.time() - uptime + ticks / os.sysconf('SC_CLK_TCK')
    except OSError:  # not Linux
        return _IMPORTED


_IMPORTED = time.time()


class SessionLogHook(tf.train.SessionRunHook):
    """Has TensorBoard drop the points that were written after the step that is restored."""

    def __init__(self, writer):
        self._writer = writer

    def after_create_session(self, session, unused_coord):
        self._writer.add_session_log(tf.SessionLog(status=tf.SessionLog.START),
                                     int(session.run(tf.train.get_global_step())) + 1)


class SummaryHook(tf.train.SessionRunHook):
    """Writes `summary` (a serialized Summary) every `every` steps and at the first.

    `speed` returns images/s, written beside it; None: not written.
    """

    def __init__(self, step, writer, summary, every, speed=None):
        self._step = step
        self._writer = writer
        self._summary = summary
        self._every = every
        self._speed = speed

    def after_create_session(self, session, unused_coord):
        self._seen = self._written = int(session.run(tf.train.get_global_step()))

    def before_run(self, unused_context):
        self._due = _passed(self._written, self._seen + 1, self._every) or self._seen == 0
        fetches = {'step': self._step}
        if self._due:
            fetches['summary'] = self._summary
        return tf.train.SessionRunArgs(fetches)

    def after_run(self, unused_context, values):
        self._seen = int(values.results['step'])
        if self._due:
            self._written = self._seen
            self._writer.add_summary(values.results['summary'], self._seen)
            if self._speed is not None and self._speed():
                self._writer.add_summary(tf.Summary(value=[tf.Summary.Value(
                    tag='images_per_second', simple_value=self._speed())]), self._seen)

    def end(self, unused_session):
        self._writer.flush()
