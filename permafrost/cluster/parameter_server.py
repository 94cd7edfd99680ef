"""The parameter server: it holds variables until the run is saved, then ends.

Its process also publishes a ServerState, which tasks read and change by messages: which run the
server serves, whether its variables can be used, and who has finished. The first chief that claims
a server has it; a server that was restarted serves no run yet.
"""

import contextlib
import dataclasses
import json
import time
from typing import Any, Callable, Dict, List, Optional

import tensorflow.compat.v1 as tf

from permafrost import engines
from permafrost.cluster import network
from permafrost.cluster.cluster_spec import ClusterSpec, Task
from permafrost.errors import UserError, one_line
from permafrost.training.signals import Signals

POLL_SECS = .2
PROBE_SECS = 5.  # between two questions to the chief
LINGER_SECS = 5.  # for the chief to close its session: TensorFlow 1.15 hangs if a server is gone
OTHERS_SECS = 10.  # for the other workers, once the chief has saved
ALIVE_SECS = 60.  # for those of them whose processes live
SAVE_SECS = 25.  # for the chief to save after a signal; it may notice the signal 5 s late
REQUEST_SECS = 15.  # timeout of a request to a server


@dataclasses.dataclass
class ServerState:
    """The state that a server publishes."""
    engine: str
    ps: List[str]  # the addresses that it was started with
    workers: List[str]
    run: Optional[Dict[str, Any]] = None  # the run that it serves: see session_creators.claim_of
    ready: bool = False  # its variables are initialized or restored
    finished: List[int] = dataclasses.field(default_factory=list)  # workers at the last step
    saved: bool = False  # the chief has saved the last step
    left: List[int] = dataclasses.field(default_factory=list)  # workers that know this

    def receive(self, kind: str, **fields: Any) -> None:
        """Change as a message asks. One that is not from the run's own tasks changes nothing.

        claim: run, overwrite. The server serves `run` unless it serves another one.
        initializing, ready: id of the run. Its chief sets variables, has set them.
        finished, saved, left: id of the run, worker.
        """
        serves_it = self.run is not None and fields.get('id') == self.run['id']
        if kind == 'claim':
            run = fields['run']
            if self.run is None or self.run['id'] != run['id'] and fields['overwrite']:
                self._reset()
                self.run = run
            elif self.run['id'] == run['id']:
                self.run = run
        elif serves_it and kind == 'initializing':
            self._reset()
        elif serves_it and kind in ('ready', 'saved'):
            setattr(self, kind, True)
        elif serves_it and kind in ('finished', 'left'):
            getattr(self, kind).append(fields['worker'])

    def _reset(self) -> None:
        self.ready, self.saved, self.finished, self.left = False, False, [], []


def start(spec: ClusterSpec, task: Task, session_config: tf.ConfigProto) -> tf.train.Server:
    """Start the TensorFlow server of `task`. Raises UserError if its port is in use."""
    address = spec.tasks()[str(task)]
    print(f'listening on port {network.parse(address)[1]} of every interface (TensorFlow ignores '
          'the address), without password or encryption: anyone who can reach it can run code as '
          "this user. Let only the cluster's hosts reach it.", flush=True)
    jobs = {'ps': list(spec.ps), 'worker': list(spec.workers)}
    try:
        return tf.train.Server(jobs, task.job, task.index, config=session_config)
    except tf.errors.OpError as error:
        raise UserError(f'{task} cannot listen on {address} ({one_line(error)}): if another '
                        'process uses the port, stop it, or choose another port')


def refuse_second(address: str, task: Task, server: tf.train.Server) -> None:
    """Raise UserError if `address` leads to another process than this `server` of the task."""
    config = tf.ConfigProto(device_filters=[f'/job:{task.job}/task:{task.index}'])
    with tf.Session(server.target, tf.Graph(), config=config) as session:
        own = [device.incarnation % 2**64 for device in session.list_devices()]  # here with a sign
    other = network.ask(address)
    if other and other.task == str(task) and other.incarnation not in own:
        raise UserError(f'{task} already runs at {address}: give this task another --task_index, '
                        'or stop that one first')


class Mailbox:
    """The operations on the state of server `index`, and on its queue of messages.

    The state is in a hash table: a variable of TensorFlow 1 can be read while it is half written,
    and the operations of a resource variable are not the same in 1.15 and 2.x.
    """

    def __init__(self, index: int):
        with tf.device(f'/job:ps/task:{index}/cpu:0'):
            table = tf.raw_ops.MutableHashTableV2(
                key_dtype=tf.int64, value_dtype=tf.string, shared_name='server_state')
            messages = tf.FIFOQueue(1 << 16, tf.string, [[]], shared_name='messages')
            self.text = tf.placeholder(tf.string, [])
            key = tf.constant(0, tf.int64)
            self.publish = tf.raw_ops.LookupTableInsertV2(
                table_handle=table, keys=key, values=self.text)
            self.state = tf.raw_ops.LookupTableFindV2(  # '' before the first
                table_handle=table, keys=key, default_value='')
            self.send, self.size, self.receive = (
                messages.enqueue(self.text), messages.size(), messages.dequeue())


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


class Servers:
    """The tasks' side: reads what the servers publish, and sends them messages.

    Each session connects straight to a server. A session through this task's own server would end
    those of a task of the same name in another cluster. Every request has a timeout.
    """

    def __init__(self, spec: ClusterSpec, session_config: tf.ConfigProto):
        self._targets = [f'grpc://{address}' for address in spec.ps]
        self._session_config = session_config
        self._sessions: Dict[int, tf.Session] = {}
        self._mailboxes = []  # each in a graph of its own, which the server receives whole
        for index in range(len(spec.ps)):
            with tf.Graph().as_default():
                self._mailboxes.append(Mailbox(index))

    def states(self) -> List[Optional[ServerState]]:
        """Return the state of each server; None for one that has not started to serve.

        Raises UnavailableError if a server does not answer.
        """
        return [self._state(index) for index in range(len(self._mailboxes))]

    def _state(self, index: int) -> Optional[ServerState]:
        text = self._run(index, self._mailboxes[index].state)
        try:
            return ServerState(**json.loads(text)) if text else None
        except TypeError:  # other fields
            raise UserError(f'ps {index} runs another version of this program: start all tasks '
                            'with the same one')

    def send(self, kind: str, only: Optional[int] = None, **fields: Any) -> None:
        """Send a message to every server, or `only` to that one.

        Raises UnavailableError if one does not answer; all others have the message then.
        """
        text, errors = json.dumps(dict(fields, kind=kind)), []
        for index, mailbox in enumerate(self._mailboxes):
            if only in (None, index):
                try:
                    self._run(index, mailbox.send, {mailbox.text: text})
                except tf.errors.UnavailableError as error:
                    errors.append(error)
        if errors:
            raise errors[0]

    def global_step(self) -> int:
        """Return the global step of the variables that the servers hold; 0 if it is unknown."""
        with tf.Graph().as_default(), contextlib.suppress(tf.errors.OpError):
            with tf.device('/job:ps/task:0/cpu:0'):  # as ClusterWorker.device_scope places it
                step = tf.train.get_or_create_global_step()
            with self._session(0, tf.get_default_graph()) as session:
                return int(session.run(step))
        return 0

    def close(self) -> None:
        """Close the sessions."""
        while self._sessions:
            with contextlib.suppress(tf.errors.OpError, RuntimeError):
                self._sessions.popitem()[1].close()

    def _session(self, index: int, graph: tf.Graph) -> tf.Session:
        config = tf.ConfigProto(device_filters=[f'/job:ps/task:{index}'],
                                operation_timeout_in_ms=int(REQUEST_SECS * 1000))
        config.MergeFrom(self._session_config)
        return tf.Session(self._targets[index], graph, config=config)

    def _run(self, index: int, fetch: Any, feed: Any = None) -> Any:
        try:
            if index not in self._sessions:
                self._sessions[index] = self._session(index, fetch.graph)
            return self._sessions[index].run(fetch, feed)
        except (tf.errors.OpError, RuntimeError) as error:  # RuntimeError: it was closed
            self.close()
            raise tf.errors.UnavailableError(None, None, one_line(error))


def serve(spec: ClusterSpec, task: Task, session_config: tf.ConfigProto, wait_secs: float) -> int:
    """Serve until the run is saved; return the exit code. Raises UserError without a chief."""
    with Signals('serving until the chief has saved; a second signal exits at once') as signals:
        server = start(spec, task, session_config)
        publisher = Publisher(server.target, spec, task, session_config)
        with publisher.session:
            refuse_second(spec.ps[task.index], task, server)
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
        if state.saved:
            saved = saved or now
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
