"""The servers of a cluster in this process, and the admissions of tasks to them."""

import tensorflow.compat.v1 as tf

from permafrost.cluster.cluster_spec import Task
from permafrost.cluster.servers import admission, client, grpc_server
from tests.cluster import helpers

TRAINING = {'model': 'tuto', 'seed': 1, 'dataset_identity': 'a' * 64, 'compute_dtype': 'float32'}


class Cluster:
    """Servers in this process, and the admissions of tasks to them."""

    def __init__(self):
        self.spec = helpers.free_spec(2, 2)
        config = tf.ConfigProto()
        self.tasks = [grpc_server.start(self.spec, Task('worker', index), config)
                       for index in (0, 1)]

    def admission(self, index=0, place=None, run_id=1, spec=None, **options):
        """Return the Admission of worker `index`; of a chief if `place`, its run, is given."""
        spec = spec or self.spec
        training = options.pop('training', TRAINING)
        claim = place and admission.claim_of(run_id, place, 'tuto', training)
        servers = client.Servers(self.spec, tf.ConfigProto())
        return admission.Admission(
            servers, self.tasks[index], spec, Task('worker', index), training,
            **dict({'wait_secs': 60., 'claim': claim}, **options))

    def hold(self, publishers, step=0):
        """Let a chief of run 1, in runs/1, claim the servers and set their step."""
        chief = self.admission(place='runs/1')
        chief.wait()
        with tf.Graph().as_default(), tf.device('/job:ps/task:0'):
            value = tf.train.get_or_create_global_step().assign(step, read_value=False)
            with tf.Session(self.tasks[0].target) as session:
                session.run(value)
        chief.servers.send('ready', id=1)
        helpers.wait_until_ready(chief.servers)
        return chief
