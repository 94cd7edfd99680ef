"""How a worker is admitted to the parameter servers, and how the chief claims them.

A server serves the run of the chief that claims it first: see state.ServerState. The tasks of
another run, cluster or engine are refused before they touch a variable.
"""

import dataclasses
import os
import socket
import time
from typing import Any, Dict, List, Optional

import tensorflow.compat.v1 as tf

from permafrost import engines
from permafrost.cluster import network
from permafrost.cluster.cluster_spec import ClusterSpec, Task
from permafrost.cluster.servers import grpc_server
from permafrost.cluster.servers.client import Servers
from permafrost.cluster.servers.state import ServerState
from permafrost.errors import UserError, printable
from permafrost.training.signals import Signals

POLL_SECS = 1.
CLAIM_SECS = .2  # between two looks at a server that is being claimed
REPORT_SECS = 10.  # between two lines that say what is missing
CLAIM_DELAY_SECS = 5.  # for servers to take the claim of a chief that has just come back


class MissingTaskError(UserError):
    """A task did not answer for wait_secs."""


def claim_of(run_id: int, place: str, model: str, training: Dict[str, Any]) -> Dict[str, Any]:
    """Return what a chief tells the servers about its run; `place` is its directory, or parent."""
    return {'id': run_id, 'place': os.path.abspath(place), 'training': training,
            'name': printable(f'the run {place} of {model} on {socket.gethostname()}')}


@dataclasses.dataclass(eq=False)
class Admission:
    """Waits until the servers answer and serve this task's run, and claims them for the chief."""
    servers: Servers
    server: Optional[tf.train.Server]  # this task's own
    spec: ClusterSpec
    task: Task
    training: Dict[str, Any]  # equal for all workers that train the same, as json has it
    wait_secs: float  # how long to wait for servers and for the chief
    overwrite: bool = False  # take servers from another run
    continue_lost: bool = False  # continue this cluster's run although its files are gone
    claim: Optional[Dict[str, Any]] = None  # the chief's; None for another worker
    signals: Optional[Signals] = None  # stop waiting when a signal arrives

    def __post_init__(self) -> None:
        self._outage_start: Optional[float] = None
        self._different_since: Optional[float] = None
        self._run_id = 0
        self._last_report = 0.

    @property
    def run_id(self) -> int:
        """The id of the run that the servers serve; 0 if it is not known yet."""
        return self._run_id if self.claim is None else self.claim['id']

    def reset_outage(self) -> None:
        """Record that a step completed: the next outage gets the full wait_secs."""
        self._outage_start = None

    def wait(self) -> List[ServerState]:
        """Return the servers' states when this task may use them.

        A chief waits until it has claimed them, another worker until their variables are set.
        Raises UserError if the servers refuse this task, MissingTaskError after wait_secs, and
        SystemExit after a signal.
        """
        if self._outage_start is None:
            self._outage_start = time.monotonic()
        self._last_report = time.monotonic()
        checked = False
        while True:
            missing = network.unanswered(self.spec.servers())
            if missing:
                self._pause('no answer from ' + missing)
                continue
            try:
                states = self.servers.states()
                for (name, address), state in zip(self.spec.servers().items(), states):
                    if state is not None:
                        self._refuse_other(f'{name} ({address})', state)
                if not checked:
                    grpc_server.refuse_second(
                        self.spec.tasks()[str(self.task)], self.task, self.server)
                    checked = True
                waits_for = self._next(states)
            except tf.errors.UnavailableError:
                waits_for = 'a parameter server has just ended'
            if not waits_for:
                return [state for state in states if state]
            self._pause(waits_for, POLL_SECS if self.claim is None else CLAIM_SECS)

    def _next(self, states: List[Optional[ServerState]]) -> str:
        """Return the task that this one waits for; '' if none. Claim a server for a chief."""
        for (name, address), state in zip(self.spec.servers().items(), states):
            if state is None:
                return f'no state from {name} ({address}), which has just started'
        chief = f'worker 0 ({self.spec.workers[0]}), the chief,'
        if self.claim is None:
            if not all(state and state.run and state.ready for state in states):
                return f'{chief} has not initialized the variables'
            self._run_id = states[0].run['id']
            return self._refuse_other_training(states[0].run['training'], chief)
        unclaimed = [state for state in states if state and state.run != self.claim]
        if not unclaimed:
            return ''
        # The first server decides between chiefs that start at the same moment.
        only = 0 if states[0] in unclaimed else None
        self.servers.send('claim', only, run=self.claim, overwrite=self.overwrite)
        return 'a parameter server has not accepted the run yet'

    def _refuse_other(self, name: str, state: ServerState) -> None:
        """Raise UserError if a server is of another engine, cluster or run than this task."""
        engine, run = engines.installed(), state.run
        serves = f"{name} serves {run['name']}" if run else name
        if engine.split('-')[0] != state.engine.split('-')[0]:
            raise UserError(f'this task runs {engine}, but {name} runs {state.engine}: start all '
                            'tasks with the same engine')
        if (state.ps, state.workers) != (list(self.spec.ps), list(self.spec.workers)):
            raise UserError(
                f"{serves}, for a cluster of ps {', '.join(state.ps)} and workers "
                f"{', '.join(state.workers)}: start other servers for this cluster, or give all "
                'tasks the same --ps_hosts and --worker_hosts')
        if not run or self.claim is None or run['id'] == self.claim['id'] or self.overwrite:
            return
        step = self.servers.global_step()
        is_lost = (self.claim['place'] in (run['place'], os.path.dirname(run['place']))
                   and self.claim['training'] == run['training'])
        if is_lost and self.continue_lost:
            print(f"{name} holds step {step} of {run['name']}, whose files are gone: continuing it",
                  flush=True)
            self.claim = dict(self.claim, id=run['id'])
            return
        advice = '--resume continues it, ' if is_lost else 'start other servers for this run, or '
        raise UserError(f'{serves} at step {step}: {advice}--overwrite discards it')

    def _refuse_other_training(self, training: Dict[str, Any], chief: str) -> str:
        """Raise UserError if the chief trains something else; return '' if not.

        A chief that does not answer may come back with other flags: return what this task waits
        for.
        """
        different = [name for name in sorted({*training, *self.training})
                     if training.get(name) != self.training.get(name)]
        if not different:
            self._different_since = None
            return ''
        if not network.ask(self.spec.workers[0]):
            return f'{chief} does not answer'
        now = time.monotonic()
        self._different_since = self._different_since or now
        if now - self._different_since < CLAIM_DELAY_SECS:
            return f'{chief} has different settings, or has not claimed the servers yet'
        details = ', '.join(f'{name}: {_short(self.training.get(name))} here, '
                            f'{_short(training.get(name))} on the chief' for name in different[:3])
        advice = 'start all tasks with the same flags'
        if 'compute_dtype' in different:
            advice = ('not all processors support bfloat16: give all tasks '
                      '--compute_dtype=float32')
        elif 'dataset_identity' in different:
            advice = 'give all tasks the same dataset'
        raise UserError(f'{chief} has different settings ({details}): {advice}')

    def _pause(self, message: str, seconds: float = POLL_SECS) -> None:
        """Wait a moment. Raises MissingTaskError after wait_secs, or SystemExit."""
        if self.signals and self.signals.code:
            raise SystemExit(self.signals.code)
        now = time.monotonic()
        outage = now - self._outage_start
        if outage > self.wait_secs:
            raise MissingTaskError(f'{message} for {outage:.0f} s: start the missing task, '
                                   'then restart this one')
        if now - self._last_report > REPORT_SECS:
            self._last_report = now
            print(f'waiting: {message}', flush=True)
        time.sleep(seconds)


def _short(value: Any) -> str:
    text = printable(str(value))
    return text if len(text) <= 40 else text[:12] + '...'
