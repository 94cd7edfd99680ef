"""How a worker opens a session: the servers admit it, then the chief sets their variables."""

import dataclasses
from typing import Optional

import tensorflow.compat.v1 as tf

from permafrost.cluster.servers.admission import Admission
from permafrost.training.checkpoints import finding, saving


@dataclasses.dataclass(eq=False)
class SessionCreator(tf.train.SessionCreator):
    """Creates a worker's first session, and a new one each time a server is lost, in bounded time.

    TensorFlow's own session manager sleeps 30 s if the model is not ready, and retries forever.
    """
    target: str  # of this task's own server
    config: tf.ConfigProto  # with the device filters of this task
    admission: Admission
    run: Optional[str] = None  # run directory; None for a worker that is not the chief
    saver: Optional[tf.train.Saver] = None  # None if `run` is None

    def __post_init__(self) -> None:
        with tf.device(None):  # place each operation with its variable
            # group: TensorFlow writes lines about an initializer that nothing has used.
            self._initialize = tf.group(tf.variables_initializer(tf.global_variables()))
            self._initialize_local = tf.group(tf.local_variables_initializer())

    def create_session(self) -> tf.Session:
        tf.get_default_graph().finalize()
        states = self.admission.wait()
        session = tf.Session(self.target, config=self.config)
        try:
            if self.run is not None:
                self._restore_or_initialize(session, all(state.ready for state in states))
            session.run(self._initialize_local)
        except BaseException:
            session.close()
            raise
        return session

    def _restore_or_initialize(self, session: tf.Session, ready: bool) -> None:
        # A restarted chief does not undo steps: it continues from the variables on the servers if
        # they are not older than the last checkpoint.
        newest = finding.newest_checkpoint(self.run)
        if ready:
            step = session.run(tf.train.get_global_step())
            if newest is None or step >= newest.step:
                print(f'parameter servers already hold step {step} of this run; continuing from it',
                      flush=True)
                return
        self.admission.servers.send('initializing', id=self.admission.claim['id'])
        if newest is None:
            session.run(self._initialize)
        else:
            saving.restore_newest(self.saver, session, self.run)
            print(f'restored step {newest.step}', flush=True)
