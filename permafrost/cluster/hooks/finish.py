"""The end of a training in a cluster: all tasks end together, after the chief has saved."""

import contextlib
import functools
import math
import time
from typing import Any, List, Optional

import tensorflow.compat.v1 as tf

from permafrost import runs
from permafrost.cluster import network, watchdog
from permafrost.cluster.servers.admission import Admission
from permafrost.cluster.servers.state import ServerState
from permafrost.errors import UserError
from permafrost.training.checkpoints.checkpoint_hook import CheckpointHook
from permafrost.training.hooks import StopHook
from permafrost.training.signals import Signals
from permafrost.training.strategy import FinalHook, Hooks

DRAIN_SECS = 8.  # for the chief to wait for the last updates of other workers
POLL_SECS = .2
LOOK_SECS = 5.  # between two looks at the run that the servers serve
REPORT_SECS = 10.  # between two lines about what this task waits for


class FinishHook(tf.train.SessionRunHook):
    """Ends the training together with the other tasks. It comes after the hook that saves.

    The chief lets the others finish their steps, saves and says so; the others wait for that.
    While this lasts, a lost server is waited for and the training continues, as in any step.
    `worker` is the worker.ClusterWorker.
    """

    def __init__(self, worker: Any, admission: Admission, watcher: watchdog.Watchdog,
                 signals: Signals, run: Optional[str], hooks: List[tf.train.SessionRunHook]):
        self.saved = False  # the last step
        self._worker, self._admission, self._watcher = worker, admission, watcher
        self._servers, self._signals, self._run = worker.servers, signals, run
        self._save_hooks = [hook for hook in hooks if isinstance(hook, CheckpointHook)]
        self._final_hooks: Hooks = [hook for hook in hooks if isinstance(hook, FinalHook)]
        self._stop, = (hook for hook in hooks if isinstance(hook, StopHook))

    def after_create_session(self, session: tf.Session, coord: tf.train.Coordinator) -> None:
        def ping() -> None:
            # If it fails, so does the step that waits, and a new session is created.
            with session.graph.as_default(), contextlib.suppress(tf.errors.OpError, RuntimeError):
                session.run(tf.train.get_global_step())

        self._watcher.emergency_save = functools.partial(self._emergency_save, session)
        self._watcher.ping = ping
        self._watcher.restart()
        self._last_look = -math.inf
        if self._run is not None:
            self._send('ready')
        self._follow_chief()  # a synchronous worker would wait for a step that nobody makes
        if self._stop.reason:
            coord.request_stop()
        self.finish(session, session.run(tf.train.get_global_step()))

    def before_run(self, unused_context: Any) -> tf.train.SessionRunArgs:
        return tf.train.SessionRunArgs(self._worker.step)

    def after_run(self, context: Any, values: Any) -> None:
        self._admission.reset_outage()
        self._watcher.heartbeat()
        self._follow_chief()
        if self._stop.reason:
            context.request_stop()
        self.finish(context.session, values.results)

    def _follow_chief(self) -> None:
        """Let a worker notice that the chief has ended the training before its last step.

        Raises UnavailableError if the servers were given to another run: see --overwrite. Only a
        worker can find this: a chief is refused while another one of the cluster runs.
        """
        now = time.monotonic()
        if self._run is None and now - self._last_look > LOOK_SECS:
            self._last_look = now
            states = self._states()
            if any(state.run['id'] != self._admission.run_id for state in states if state.run):
                raise tf.errors.UnavailableError(None, None, 'the servers serve another run')
            if any(state.saved for state in states):
                self._stop.reason = 'the chief has ended the training'

    def leave(self) -> None:
        """Note that the training has left its loop: it may still have to save after a signal."""
        if not self.saved:
            self._watcher.enter(watchdog.State.NOTIFYING if self._run is None else
                                watchdog.State.SAVING)

    def _emergency_save(self, session: tf.Session) -> None:
        for hook in self._save_hooks:
            hook.emergency_save(session)

    def _send(self, kind: str) -> None:
        run_id = self._admission.run_id
        self._servers.send(kind, id=run_id, worker=self._worker.task.index)

    def finish(self, session: tf.Session, step: int) -> None:
        """End the training if `step` is the last. Raises UnavailableError if a server is lost."""
        if self._signals.code or (step < self._worker.config.steps and not self._stop.reason):
            return
        if self._run is None:
            self._wait_for_chief(step)
        else:
            self._save(session, step)

    def _save(self, session: tf.Session, step: int) -> None:
        self._watcher.enter(watchdog.State.SAVING)
        if not self._stop.reason:
            self._wait_for_others()
        with session.graph.as_default():
            for hook in (*self._save_hooks, *self._final_hooks):
                hook.end(session)
        if self._signals.code and any(hook.is_behind(step) for hook in self._final_hooks):
            return  # the others wait for this task to come back
        self._watcher.enter(watchdog.State.NOTIFYING)
        # Before the servers end: a chief that is killed now has nothing to do when it comes back.
        with contextlib.suppress(OSError):
            runs.write_status(self._run, state='done')
        with contextlib.suppress(tf.errors.UnavailableError):  # all is saved
            self._send('saved')
        if self._stop.reason:
            with contextlib.suppress(tf.errors.OpError):
                self._worker.release_others(session)
        self.saved = True
        self._watcher.emergency_save = functools.partial(
            runs.write_status, self._run, state='done')
        self._watcher.enter(watchdog.State.CLOSING)

    def _wait_for_others(self) -> None:
        """Let the other workers finish the steps that they are making, for some seconds."""
        others = set(range(1, len(self._worker.spec.workers)))
        deadline = time.monotonic() + DRAIN_SECS
        while not self._signals.code and time.monotonic() < deadline:
            for state in self._states():
                others = others - {*state.finished}
            if not any(network.is_listening(self._worker.spec.workers[index]) for index in others):
                return
            time.sleep(POLL_SECS)

    def _wait_for_chief(self, step: int) -> None:
        """Wait until the chief has saved. Raises UserError after wait_secs."""
        self._watcher.enter(watchdog.State.NOTIFYING)
        self._send('finished')
        chief = f'worker 0 ({self._worker.spec.workers[0]}), the chief,'
        start = last_report = time.monotonic()
        while not self._signals.code:
            states = self._states()
            if any(state.saved for state in states):
                with contextlib.suppress(tf.errors.UnavailableError):  # the server has ended
                    self._send('left')
                self.saved = True
                self._watcher.enter(watchdog.State.CLOSING)
                return
            if not all(state.ready for state in states):
                raise tf.errors.UnavailableError(None, None, 'the chief restores a checkpoint')
            now = time.monotonic()
            if now - start > self._admission.wait_secs:
                if network.ask(self._worker.spec.workers[0]):  # it lives, and may evaluate
                    start = time.monotonic()
                    self._watcher.enter(watchdog.State.NOTIFYING)
                    continue
                raise UserError(f'{chief} has not saved step {step} within {now - start:.0f} s: '
                                'start it, then this task again')
            if now - last_report > REPORT_SECS:
                last_report = now
                print(f'waiting: {chief} has not saved step {step} yet', flush=True)
            time.sleep(POLL_SECS)

    def _states(self) -> List[ServerState]:
        states = self._servers.states()
        if None in states:
            raise tf.errors.UnavailableError(None, None, 'a server has just started')
        return states
