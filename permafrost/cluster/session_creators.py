"""How a worker opens its session: the chief initializes or restores, the others wait for it."""

import dataclasses
import time
from typing import Callable, Dict, Optional

import tensorflow.compat.v1 as tf

from permafrost.cluster import network
from permafrost.errors import UserError
from permafrost.training import checkpoints
from permafrost.training.signals import Signals

POLL_SECS = 1.
REPORT_SECS = 10.  # between two lines that say what is missing


@dataclasses.dataclass(eq=False)
class SessionCreator(tf.train.SessionCreator):
    """Creates a worker's first session, and a new one each time a server is lost, in bounded time.

    TensorFlow's own session manager sleeps 30 s if the model is not ready, and retries forever.
    """
    target: str  # of this task's own server
    config: tf.ConfigProto  # with the device filters of this task
    servers: Dict[str, str]  # {name: address} of the parameter servers
    # int64 [2], on a server and in no checkpoint. The chief sets it last, to [config_hash, run_id].
    variable: tf.Variable
    config_hash: int  # the same for all workers of one training
    run_id: int  # of the run directory; only the chief compares it
    wait_secs: float  # how long to wait for servers and for the chief
    signals: Signals  # stop waiting when a signal arrives
    run: Optional[str] = None  # run directory; None for a worker that is not the chief
    saver: Optional[tf.train.Saver] = None  # None if `run` is None

    def __post_init__(self) -> None:
        self._outage_start: Optional[float] = None
        with tf.device(None):  # place each operation with its variable
            # identity: TensorFlow logs an error about a report that no session has fetched.
            self._uninitialized = tf.identity(tf.report_uninitialized_variables(
                tf.global_variables() + [self.variable]))
            self._initialize = tf.variables_initializer(tf.global_variables())
            self._assign_identity = self.variable.assign([self.config_hash, self.run_id])
            self._initialize_local = tf.local_variables_initializer()

    def reset_outage(self) -> None:
        """Note that a step was made: the next outage gets the full wait_secs."""
        self._outage_start = None

    def create_session(self) -> tf.Session:
        tf.get_default_graph().finalize()
        if self._outage_start is None:
            self._outage_start = time.time()
        else:
            time.sleep(POLL_SECS)
        self._wait_while(lambda: network.unreachable(self.servers), 'no answer from')
        session = tf.Session(self.target, config=self.config)
        try:
            if self.run is None:
                self._wait_for_chief(session)
            else:
                self._restore_or_initialize(session)
            session.run(self._initialize_local)
        except BaseException:
            session.close()
            raise
        return session

    def _wait_while(self, missing: Callable[[], str], message: str) -> None:
        """Return when `missing()` returns ''. Raises UserError after wait_secs, or SystemExit."""
        last_report = time.time()
        while True:
            names = missing()
            if self.signals.code:
                raise SystemExit(self.signals.code)
            if not names:
                return
            seconds = time.time() - self._outage_start
            if seconds > self.wait_secs:
                raise UserError(f'{message} {names} for {seconds:.0f} s: start what is missing, '
                                'then restart this task')
            if time.time() - last_report > REPORT_SECS:
                last_report = time.time()
                print(f'waiting: {message} {names}', flush=True)
            time.sleep(POLL_SECS)

    def _wait_for_chief(self, session: tf.Session) -> None:
        def missing() -> str:
            names = session.run(self._uninitialized)
            return b', '.join(names[:3]).decode() + (' ...' if len(names) > 3 else '')

        self._wait_while(missing, 'the chief has not initialized')
        if session.run(self.variable)[0] != self.config_hash:
            raise UserError('the chief is training something else: start all tasks with the '
                            'same flags (model, recipe, steps, dataset, --mode), and --resume if '
                            'the others have it. If not all processors support bfloat16, add '
                            '--set compute_dtype=float32.')

    def _restore_or_initialize(self, session: tf.Session) -> None:
        # A restarted chief does not undo steps: it continues from the variables on the servers if
        # they belong to this run and are not older than the last checkpoint.
        last = max(checkpoints.list_checkpoints(self.run), default=None)
        if not session.run(self._uninitialized).size:
            step, identity = session.run([tf.train.get_global_step(), self.variable])
            if list(identity) == [self.config_hash, self.run_id] and step >= (last or 0):
                print(f'parameter servers already hold step {step} of this run; continuing from it',
                      flush=True)
                return
        if last is None:
            session.run(self._initialize)
        else:
            self.saver.restore(session, checkpoints.find_checkpoint(self.run, last)[1])
            print(f'restored step {last}', flush=True)
        session.run(self._assign_identity)
