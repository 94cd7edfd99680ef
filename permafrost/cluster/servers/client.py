"""The client of a task: it reads the states of the parameter servers and sends them messages."""

import contextlib
import json
from typing import Any, Dict, List, Optional

import tensorflow.compat.v1 as tf

from permafrost.cluster.cluster_spec import ClusterSpec
from permafrost.cluster.servers.state import Mailbox, ServerState
from permafrost.errors import UserError, one_line

REQUEST_SECS = 15.  # timeout of a request to a server


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
