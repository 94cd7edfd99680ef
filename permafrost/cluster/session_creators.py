"""How a worker opens its session: the chief initialises or restores, the others wait for it."""

import dataclasses
import time
from typing import Callable, Dict, List, NamedTuple, Optional

import tensorflow.compat.v1 as tf

from permafrost.cluster import network
from permafrost.errors import UserError
from permafrost.training import checkpoints
from permafrost.training.signals import Signals

POLL_SECS = 1.
REPORT_SECS = 10.  # between two lines that name the tasks that are missing


class Identity(NamedTuple):
    """The identity of a training. The chief writes it to a server after all other variables."""
    config_hash: int  # equal for all workers that train the same
    run_id: int  # of the run directory; only the chief compares it


@dataclasses.dataclass(eq=False)
class SessionCreator(tf.train.SessionCreator):
    """Creates the first session, and another each time a server was lost, in bounded time.

    TensorFlow's own session manager sleeps 30 s if the model is not ready, and tries for ever.
    """
    target: str  # of this task's own server
    config: tf.ConfigProto  # with the device filters of this task
    servers: Dict[str, str]  # {name: address} of the parameter servers
    variable: tf.Variable  # int64 [2], on a server and in no checkpoint: an Identity, first [0, 0]
    identity: Identity  # of this worker
    wait_secs: float  # how long to wait for servers and for the chief
    signals: Signals  # stop waiting when a signal arrives
    run: Optional[str] = None  # run directory; None for a worker that is not the chief
    saver: Optional[tf.train.Saver] = None  # as `run`

    def __post_init__(self) -> None:
        self._outage_start: Optional[float] = None
        with tf.device(None):  # each on the device of its variable
            # identity: TensorFlow logs an error about a report that no session has fetched.
            self._uninitialized = tf.identity(tf.report_uninitialized_variables(
                tf.global_variables() + [self.variable]))
            self._initialize = tf.variables_initializer(tf.global_variables())
            self._assign_identity = self.variable.assign(self.identity)
            self._initialize_local = tf.local_variables_initializer()

    def reset_outage(self) -> None:
        """Note that a step was made: the next outage gets the full waiting time."""
        self._outage_start = None

    def create_session(self) -> tf.Session:
        tf.get_default_graph().finalize()
        if self._outage_start is None:
            self._outage_start = time.time()
        else:
            time.sleep(POLL_SECS)
        self.wait_until_empty(lambda: network.unreachable(self.servers), 'no answer from')
        session = tf.Session(self.target, config=self.config)
        try:
            self.prepare(session)
            session.run(self._initialize_local)
        except BaseException:
            session.close()
            raise
        return session

    def prepare(self, session: tf.Session) -> None:
        """Return when the variables on the servers are ready for training."""
        raise NotImplementedError

    def uninitialized(self, session: tf.Session) -> List[str]:
        """Return the names of the variables without a value."""
        return [name.decode() for name in session.run(self._uninitialized)]

    def wait_until_empty(self, missing: Callable[[], str], message: str) -> None:
        """Return when `missing()` returns ''; else print or raise '<message> <missing()>'.

        Raises UserError if that takes too long, SystemExit if a signal arrives.
        """
        last_report = time.time()
        while True:
            names = missing()
            if self.signals.code:
                raise SystemExit(self.signals.code)
            if not names:
                return
            now = time.time()
            seconds = now - self._outage_start
            if seconds > self.wait_secs:
                raise UserError(f'{message} {names} for {seconds:.0f} s: start what is missing, '
                                'then this task again')
            if now - last_report > REPORT_SECS:
                last_report = now
                print(f'waiting: {message} {names}', flush=True)
            time.sleep(POLL_SECS)


class WorkerSessionCreator(SessionCreator):
    """For a worker that is not the chief: waits until the chief has set all variables."""

    def prepare(self, session: tf.Session) -> None:
        def missing() -> str:
            names = self.uninitialized(session)
            return ', '.join(names[:3]) + (' ...' if len(names) > 3 else '')

        self.wait_until_empty(missing, 'the chief has not set')
        if session.run(self.variable)[0] != self.identity.config_hash:
            raise UserError('the chief trains something else: start all tasks with the same flags '
                            '(model, recipe, steps, dataset, --mode), and --resume if the others '
                            'have it. If not all processors support bfloat16, add '
                            '--set compute_dtype=float32.')


class ChiefSessionCreator(SessionCreator):
    """For the chief: restores the last checkpoint of `run`, or initialises.

    It continues from what the servers hold if that is of this run and not older than the last
    checkpoint. So a restarted chief undoes no step.
    """

    def prepare(self, session: tf.Session) -> None:
        last = max(checkpoints.list_checkpoints(self.run), default=None)
        if not self.uninitialized(session):
            step = int(session.run(tf.train.get_global_step()))
            if tuple(session.run(self.variable)) == self.identity and step >= (last or 0):
                print(f'parameter servers already hold step {step} of this run; continuing from it',
                      flush=True)
                return
        if last is None:
            session.run(self._initialize)
        else:
            self.saver.restore(session, checkpoints.find_checkpoint(self.run, last)[1])
            print(f'restored step {last}', flush=True)
        session.run(self._assign_identity)
