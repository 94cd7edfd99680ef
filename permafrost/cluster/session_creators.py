"""Sessions of a cluster's workers: the chief makes the model ready, the others wait until it is."""

import time

import tensorflow.compat.v1 as tf

from permafrost.cluster import network
from permafrost.errors import UserError
from permafrost.training import checkpoints

POLL_SECS = 1.
NAME_SECS = 10.  # between lines that say who is waited for


class SessionCreator(tf.train.SessionCreator):
    """Creates sessions, the first and those after a server was lost, within bounded time.

    TensorFlow's own sleeps 30 s where it just misses that the model is ready, and tries for ever.

    Args:
      target: of this task's own server.
      config: tf.ConfigProto with device filters.
      servers: {name: address} of the parameter servers.
      identity: int64 variable [2], on a server and in no checkpoint, written last of all: what is
        trained, and in which run.
      expected: the values of `identity`; the second counts for the chief alone.
      wait_secs: seconds to wait for servers and for the chief.
      signals: a hooks.Signals.
    """

    def __init__(self, target, config, servers, identity, expected, wait_secs, signals):
        self._target = target
        self._config = config
        self._servers = servers
        self._identity = identity
        self._expected = expected
        self._wait_secs = wait_secs
        self._signals = signals
        self._since = None  # when this outage began
        with tf.device(None):  # each beside its variable
            self._uninitialized = tf.report_uninitialized_variables(
                tf.global_variables() + [identity])
            self._initial = tf.variables_initializer(tf.global_variables())
            self._identify = identity.assign(expected)
            self._local = tf.local_variables_initializer()

    def made_step(self):
        """The outage, if there was one, is over."""
        self._since = None

    def create_session(self):
        tf.get_default_graph().finalize()
        if self._since is None:
            self._since = time.time()
        else:
            time.sleep(POLL_SECS)
        self._await(self._missing, 'no answer from %s')
        session = tf.Session(self._target, config=self._config)
        try:
            self.prepare(session)
            session.run(self._local)
        except BaseException:
            session.close()
            raise
        return session

    def _missing(self):
        return ', '.join('%s (%s)' % item for item in self._servers.items()
                         if not network.is_reachable(item[1]))

    def _await(self, missing, says):
        """Returns when `missing()` is empty. Raises UserError when that takes too long."""
        said = time.time()
        while True:
            names = missing()
            if self._signals.code:
                raise SystemExit(self._signals.code)
            if not names:
                return
            now = time.time()
            if now - self._since > self._wait_secs:
                raise UserError((says + ' for %d s: start what is missing, then this task again')
                                % (names, now - self._since))
            if now - said > NAME_SECS:
                said = now
                print('waiting: ' + says % names, flush=True)
            time.sleep(POLL_SECS)

    def _unready(self, session):
        return session.run(self._uninitialized)


class WorkerSessionCreator(SessionCreator):
    """Of the workers that are not the chief."""

    def prepare(self, session):
        def missing():
            names = self._unready(session)
            return ', '.join(name.decode() for name in names[:3]) + ' ...' * (len(names) > 3)
        self._await(missing, 'the chief has not set %s')
        if session.run(self._identity)[0] != self._expected[0]:
            raise UserError('the chief trains something else: start all tasks with the same flags '
                            '(model, recipe, steps, data, --mode), and --resume where it is given; '
                            'where not all processors have bfloat16, add --set precision=float32')


class ChiefSessionCreator(SessionCreator):
    """Of the chief. What the servers hold goes on where it is of this run, and not behind the
    last checkpoint: so a restarted chief undoes nothing."""

    def __init__(self, run, saver, *arguments):
        super().__init__(*arguments)
        self._run = run
        self._saver = saver

    def prepare(self, session):
        last = max(checkpoints.list_checkpoints(self._run), default=None)
        if not len(self._unready(session)):
            step = int(session.run(tf.train.get_global_step()))
            if list(session.run(self._identity)) == self._expected and step >= (last or 0):
                print('the servers hold step %d of this run: going on there' % step, flush=True)
                return
        if last is None:
            session.run(self._initial)
        else:
            self._saver.restore(session, checkpoints.find_checkpoint(self._run, last)[1])
            print('restored step %d' % last, flush=True)
        session.run(self._identify)
