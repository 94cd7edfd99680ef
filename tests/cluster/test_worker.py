"""Where a cluster's graph places what, and a batch-normalised network trained through it."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from permafrost import runs
from permafrost.cluster import cluster_spec, local_cluster, parameter_server, task, worker
from permafrost.config import Config
from permafrost.recipes import overrides
from permafrost.training import checkpoints, loop
from permafrost.training.graph import build
from tests import networks

tf.disable_v2_behavior()
tf.enable_resource_variables()


def _settings(model, dataset, **fields):
    recipe = overrides.get_recipe('tutorial', ['batch_size=32', 'learning_rate=0.05'])
    return Config(model, recipe, dataset=dataset.name, data_dir=dataset.directory,
                         summary_steps=0, histogram_steps=0, **fields)


def _cluster(settings, servers, mode='async'):
    hosts = ['127.0.0.1:%d' % port for port in local_cluster.free_ports(servers + 1)]
    place = cluster_spec.TaskContext(cluster_spec.ClusterSpec(tuple(hosts[:servers]), tuple(hosts[servers:])), cluster_spec.Task('worker'), '')
    return worker.ClusterWorker(place, task.TaskOptions(mode, 0, 60), settings, tf.ConfigProto())


@pytest.mark.parametrize('mode', ['async', 'sync'])
def test_variables_lie_on_the_servers_by_size_and_all_else_on_the_worker(synthetic, mode):
    settings = _settings('tuto', synthetic, steps=1)
    here = _cluster(settings, 2, mode)
    with tf.Graph().as_default() as graph, here.placed():
        build(settings, synthetic, here)
        jobs = {}
        for variable in tf.global_variables():
            device = tf.DeviceSpec.from_string(variable.device)
            assert device.job == 'ps', variable.name
            base = variable.op.name.replace('/ExponentialMovingAverage', '')
            # an average lies beside its variable
            assert jobs.setdefault(base, device.task) == device.task
        size = {0: 0, 1: 0}
        for variable in tf.trainable_variables():
            size[jobs[variable.op.name]] += variable.shape.num_elements() * 4
        # fc1 holds 3.5 of 4.3 MB; all that comes after it goes to the other server.
        assert min(size.values()) > 250000
        assert jobs['fc1/weights'] != jobs['fc2/weights']
        for variable in tf.local_variables():
            assert tf.DeviceSpec.from_string(variable.device).job == 'worker', variable.name
        heavy = [op for op in graph.get_operations() if op.type in ('Conv2D', 'MatMul')]
        assert heavy
        for op in heavy:
            assert tf.DeviceSpec.from_string(op.device).job == 'worker', op.name
        # Brought once a step, though weight decay reads the weights of fc1 too.
        used = [op for op in graph.get_operations() if op.type == 'ReadVariableOp'
                and op.inputs[0].op.name == 'fc1/weights'
                and any(to.type in ('MatMul', 'L2Loss') for to in op.outputs[0].consumers())]
        assert len(used) == 1
    here.close()


@pytest.mark.parametrize('mode', ['async', 'sync'])
def test_one_worker_trains_as_no_cluster_does(synthetic, tmp_path, mode):
    """Batch normalization's moving statistics, the averages and all weights come out alike."""
    with networks.registered():
        settings = _settings('normed', synthetic, steps=5, deterministic=True)
        one = tf.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=1)
        alone, both = str(tmp_path / 'alone'), str(tmp_path / 'both')
        assert loop.train(settings, synthetic, lambda: runs.create('', '', alone), one) == 0
        here = _cluster(settings, 1, mode)
        ps = parameter_server.start(here.spec, cluster_spec.Task('ps'), one)
        assert loop.train(settings, synthetic, lambda: runs.create('', '', both), one,
                              here) == 0
        del ps
        here.close()
    expected, found = (tf.train.load_checkpoint(checkpoints.find_checkpoint(run)[1]) for run in (alone, both))
    names = expected.get_variable_to_shape_map()
    assert sorted(found.get_variable_to_shape_map()) == sorted(names)
    for name in names:
        np.testing.assert_allclose(found.get_tensor(name), expected.get_tensor(name), rtol=1e-3,
                                   atol=1e-4, err_msg=name)
