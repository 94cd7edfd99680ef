"""The state that a parameter server publishes, and the queue of messages that change it.

The state tells which run the server serves, whether its variables can be used, and who has
finished. The first chief that claims a server has it; a server that was restarted serves no run.
"""

import dataclasses
from typing import Any, Dict, List, Optional

import tensorflow.compat.v1 as tf


@dataclasses.dataclass
class ServerState:
    """The state that a server publishes."""
    engine: str
    ps: List[str]  # the addresses that it was started with
    workers: List[str]
    run: Optional[Dict[str, Any]] = None  # the run that it serves: see admission.claim_of
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
            elif self.run != run and self.run['id'] == run['id']:  # such as with more steps
                self.run, self.saved, self.left = run, False, []
        elif serves_it and kind == 'initializing':
            self._reset()
        elif serves_it and kind in ('ready', 'saved'):
            setattr(self, kind, True)
        elif serves_it and kind in ('finished', 'left'):
            getattr(self, kind).append(fields['worker'])

    def _reset(self) -> None:
        self.ready, self.saved, self.finished, self.left = False, False, [], []


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
