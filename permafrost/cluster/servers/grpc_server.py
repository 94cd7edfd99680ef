"""The TensorFlow server of a task: how it starts, and how a second one of the task is refused."""

import tensorflow.compat.v1 as tf

from permafrost.cluster import network
from permafrost.cluster.cluster_spec import ClusterSpec, Task
from permafrost.errors import UserError, one_line


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
