"""The parameter server: holds variables until the workers are done, then ends.

Each worker that has done its last step puts its number into a queue on every server. A server
ends when all have, or soon after the chief has: the chief is the last, so who is missing then
has died.
"""

import time

import tensorflow.compat.v1 as tf

from permafrost.cluster import network
from permafrost.errors import UserError
from permafrost.training.signals import Signals

POLL_SECS = .2
LINGER_SECS = 5.  # for the chief to close its session: 1.15 hangs where a server went before
CHIEF_SECS = 3.  # from the chief's end to the server's where other workers are missing
SAVE_SECS = 25.  # that the chief has to save after a signal, in mid-step 5 s after it


def start(spec, task, session_config):
    """The tf.train.Server of `task`. Raises UserError where its port is taken."""
    print(network.listening_warning(network.parse(spec.address(task))[1]), flush=True)
    jobs = {'ps': list(spec.ps), 'worker': list(spec.workers)}
    try:
        return tf.train.Server(tf.train.ClusterSpec(jobs), task.job, task.index,
                               config=session_config)
    except tf.errors.OpError as error:
        raise UserError('%s cannot listen on %s (%s): is the port taken by another process?' % (
            task, spec.address(task), ' '.join(str(error).split())[:200]))


def done_queue(index):
    """The queue, on server `index`, of the numbers of workers that are done."""
    with tf.device('/job:ps/task:%d/cpu:0' % index):
        return tf.FIFOQueue(1 << 16, tf.int32, [[]], shared_name='done')


def serve(spec, task, session_config, wait_secs):
    """Serves until training is done. Returns the exit code.

    Raises UserError where the chief cannot be reached for `wait_secs` seconds.
    """
    config = tf.ConfigProto()
    config.CopyFrom(session_config)
    config.device_filters.append('/job:ps/task:%d' % task.index)  # waits for no other task
    with Signals('%s: serving until the chief has saved; again to exit at once') as signals:
        server = start(spec, task, session_config)
        with tf.Graph().as_default():
            queue = done_queue(task.index)
            size, number = queue.size(), queue.dequeue()
            with tf.Session(server.target, config=config) as session:
                print('serving', flush=True)
                _until_done(spec, lambda: [int(session.run(number))
                                           for _ in range(session.run(size))],
                            signals, wait_secs)
    if signals.code:
        return signals.code
    limit = time.time() + LINGER_SECS
    while time.time() < limit and network.is_reachable(spec.workers[0]):
        time.sleep(POLL_SECS)
    print('done', flush=True)
    return 0


def _until_done(spec, arrived, signals, wait_secs):
    """Returns when the workers are done (`arrived()`: the numbers of those done since), or
    when a signal came and the chief has left."""
    done, chief_seen, said, chief_done, stop = set(), time.time(), time.time(), None, None
    while len(done) < len(spec.workers):
        done.update(arrived())
        now = time.time()
        if 0 in done:
            chief_done = chief_done or now
            if now - chief_done > CHIEF_SECS:
                print('worker %s never said that it was done' % ', '.join(
                    str(i) for i in range(len(spec.workers)) if i not in done), flush=True)
                return
        elif signals.code:
            stop = stop or now
            if now - stop > SAVE_SECS or not network.is_reachable(spec.workers[0]):
                return
        elif now - said > 5:
            said = now
            if network.is_reachable(spec.workers[0]):
                chief_seen = now
            elif now - chief_seen > wait_secs:
                raise UserError('worker 0 (%s), the chief, did not answer for %d s: start it, then '
                                'this server again' % (spec.workers[0], wait_secs))
        time.sleep(POLL_SECS)
