"""The parameter server: it holds variables until the workers are done, then ends.

Each worker that has finished puts its index into a queue on every server. A server ends when all
workers have, or soon after the chief has: the chief is the last, so a worker that is missing then
has died.
"""

import time
from typing import Callable, Set

import tensorflow.compat.v1 as tf

from permafrost.cluster import network
from permafrost.cluster.cluster_spec import ClusterSpec, Task
from permafrost.errors import UserError, one_line
from permafrost.training.signals import Signals

POLL_SECS = .2
PROBE_SECS = 5.  # between two connections to the chief
LINGER_SECS = 5.  # for the chief to close its session: TensorFlow 1.15 hangs if a server is gone
OTHERS_SECS = 3.  # for the other workers, once the chief is done
SAVE_SECS = 25.  # for the chief to save after a signal; it may notice the signal 5 s late


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
        raise UserError(f'{task} cannot listen on {address} ({one_line(error)}): is the port in '
                        'use by another process?')


def done_queue(index: int) -> tf.QueueBase:
    """Return the queue, on server `index`, of the indices of the workers that are done."""
    with tf.device(f'/job:ps/task:{index}/cpu:0'):
        return tf.FIFOQueue(1 << 16, tf.int32, [[]], shared_name='done')


def serve(spec: ClusterSpec, task: Task, session_config: tf.ConfigProto, wait_secs: float) -> int:
    """Serve until training is done; return the exit code. Raises UserError without a chief."""
    # Without a filter, the session would wait for other tasks.
    config = tf.ConfigProto(device_filters=[f'/job:ps/task:{task.index}'])
    config.MergeFrom(session_config)
    with Signals('serving until the chief has saved; again to exit at once') as signals:
        server = start(spec, task, session_config)
        with tf.Graph().as_default():
            queue = done_queue(task.index)
            size, dequeue = queue.size(), queue.dequeue()
            with tf.Session(server.target, config=config) as session:
                print('serving', flush=True)
                wait_for_workers(
                    spec, lambda: {int(session.run(dequeue)) for _ in range(session.run(size))},
                    signals, wait_secs)
    if signals.code:
        return signals.code
    deadline = time.time() + LINGER_SECS
    while time.time() < deadline and network.is_reachable(spec.workers[0]):
        time.sleep(POLL_SECS)
    print('done', flush=True)
    return 0


def wait_for_workers(spec: ClusterSpec, newly_done: Callable[[], Set[int]], signals: Signals,
                     wait_secs: float) -> None:
    """Return when the workers are done, or when a signal came and the chief has left.

    `newly_done` returns the indices of the workers that are done since the last call.
    """
    chief = spec.workers[0]
    missing = set(range(len(spec.workers)))
    chief_seen = last_probe = time.time()
    chief_done = signalled = 0.  # when
    while missing:
        missing -= newly_done()
        now = time.time()
        if 0 not in missing:
            chief_done = chief_done or now
            if now - chief_done > OTHERS_SECS:
                print(f"ending without worker {', '.join(map(str, sorted(missing)))}, which did "
                      'not report that it was done', flush=True)
                return
        elif signals.code:
            signalled = signalled or now
            if now - signalled > SAVE_SECS or not network.is_reachable(chief):
                return
        elif now - last_probe > PROBE_SECS:
            last_probe = now
            if network.is_reachable(chief):
                chief_seen = now
            elif now - chief_seen > wait_secs:
                raise UserError(f'worker 0 ({chief}), the chief, did not answer for {wait_secs} s: '
                                'start it, then this server again')
        time.sleep(POLL_SECS)
