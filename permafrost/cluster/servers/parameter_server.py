"""The process of a parameter server: it holds variables, publishes its state and ends."""

import dataclasses
import json
import time
from typing import Callable

import tensorflow.compat.v1 as tf

from permafrost import engines
from permafrost.cluster import network
from permafrost.cluster.cluster_spec import ClusterSpec, Task
from permafrost.cluster.servers import grpc_server
from permafrost.cluster.servers.state import Mailbox, ServerState
from permafrost.errors import UserError
from permafrost.training.signals import Signals

POLL_SECS = .2
PROBE_SECS = 5.  # between two questions to the chief
LINGER_SECS = 5.  # for the chief to close its session: TensorFlow 1.15 hangs if a server is gone
OTHERS_SECS = 10.  # for the other workers, once the chief has saved
ALIVE_SECS = 60.  # for those of them whose processes live
SAVE_SECS = 25.  # for the chief to save after a signal; it may notice the signal 5 s late


class Publisher:
    """The server's side: its state, changed by the messages that have come."""

    def __init__(self, target: str, spec: ClusterSpec, task: Task, session_config: tf.ConfigProto):
        self._spec = spec
        # Without a filter, the session would wait for other tasks.
        config = tf.ConfigProto(device_filters=[f'/job:ps/task:{task.index}'])
        config.MergeFrom(session_config)
        with tf.Graph().as_default():
            self._mailbox = Mailbox(task.index)
            self.session = tf.Session(target, config=config)
        self.restart()

    def restart(self) -> None:
        """Publish the state of a server that has just started."""
        self.state = ServerState(engines.installed(), list(self._spec.ps), list(self._spec.workers))
        self.publish()

    def poll(self) -> ServerState:
        """Read the messages, publish what they change, and return the state."""
        count = self.session.run(self._mailbox.size)
        for _ in range(count):
            message = json.loads(self.session.run(self._mailbox.receive))
            before = self.state.run
            self.state.receive(**message)
            if self.state.run and (before is None or before['id'] != self.state.run['id']):
                print(f"serving {self.state.run['name']}", flush=True)
        if count:
            self.publish()
        return self.state

    def publish(self) -> None:
        """Make the state readable by other tasks."""
        text = json.dumps(dataclasses.asdict(self.state))
        self.session.run(self._mailbox.publish, {self._mailbox.text: text})


def serve(spec: ClusterSpec, task: Task, session_config: tf.ConfigProto, wait_secs: float) -> int:
    """Serve until the run is saved; return the exit code. Raises UserError without a chief."""
    with Signals('serving until the chief has saved; a second signal exits at once') as signals:
        server = grpc_server.start(spec, task, session_config)
        publisher = Publisher(server.target, spec, task, session_config)
        with publisher.session:
            grpc_server.refuse_second(spec.ps[task.index], task, server)
            print('serving', flush=True)
            wait_for_workers(spec, publisher.poll, signals, wait_secs)
    if signals.code:
        return signals.code
    deadline = time.monotonic() + LINGER_SECS
    while time.monotonic() < deadline and network.is_listening(spec.workers[0]):
        time.sleep(POLL_SECS)
    print('done', flush=True)
    return 0


def wait_for_workers(spec: ClusterSpec, poll: Callable[[], ServerState], signals: Signals,
                     wait_secs: float) -> None:
    """Return when all workers know that the run is saved, or the chief has left after a signal.

    `poll` returns the state. Raises UserError if the chief does not answer for `wait_secs`.
    """
    chief = spec.workers[0]
    chief_seen = last_probe = time.monotonic()
    saved = signalled = 0.  # when
    while True:
        state, now = poll(), time.monotonic()
        saved = (saved or now) if state.saved else 0.
        if state.saved:
            missing = sorted({*range(1, len(spec.workers))} - {*state.left})
            if not missing:
                return
            alive = now - saved < ALIVE_SECS and any(
                network.is_listening(spec.workers[index]) for index in missing)
            if now - saved > OTHERS_SECS and not alive:
                print(f"ending without worker {', '.join(map(str, missing))}, which did not report "
                      'that it was done', flush=True)
                return
        elif signals.code:
            signals.report()
            signalled = signalled or now
            if now - signalled > SAVE_SECS or not network.is_listening(chief):
                return
        elif now - last_probe > PROBE_SECS:
            last_probe = now
            if network.ask(chief):
                chief_seen = now
            elif now - chief_seen > wait_secs:
                raise UserError(f'worker 0 ({chief}), the chief, did not answer for {wait_secs} s: '
                                'start it, then this server again')
        time.sleep(POLL_SECS)
