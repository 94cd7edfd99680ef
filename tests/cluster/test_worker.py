"""Where a worker's graph places what, and a batch-normalised network trained through it."""

import dataclasses

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from permafrost.cluster import cluster_spec, local_cluster, parameter_server, task, worker
from permafrost.cluster.cluster_spec import ClusterSpec, Task
from permafrost.training import checkpoints, loop
from permafrost.training.graph import build
from tests import networks


def _chief(config, servers, mode='async', session_config=None):
    """Return the chief, and only worker, of a cluster."""
    hosts = [f'127.0.0.1:{port}' for port in local_cluster.free_ports(servers + 1)]
    spec = ClusterSpec(tuple(hosts[:servers]), tuple(hosts[servers:]))
    context = cluster_spec.TaskContext(spec, Task('worker'), '')
    return worker.ClusterWorker(context, task.TaskOptions(mode, 0, 60), config,
                                session_config or tf.ConfigProto())


def _device(value):
    return tf.DeviceSpec.from_string(value.device)


@pytest.mark.parametrize('mode', ['async', 'sync'])
def test_variables_are_spread_over_the_servers_and_the_rest_is_on_the_worker(synthetic, mode):
    config = networks.train_setup(synthetic, 'run', 1, 'tuto').config
    chief = _chief(config, 2, mode)
    with tf.Graph().as_default() as graph, chief.device_scope():
        build(config, synthetic, chief)
        servers = {}
        for variable in tf.global_variables():
            assert _device(variable).job == 'ps', variable.name
            name = variable.op.name.replace('/ExponentialMovingAverage', '')
            # an average is on the server of its variable
            assert servers.setdefault(name, _device(variable).task) == _device(variable).task
        size = {0: 0, 1: 0}
        for variable in tf.trainable_variables():
            size[servers[variable.op.name]] += variable.shape.num_elements() * 4
        # fc1 has 3.5 of 4.3 MB; all variables after it go to the other server.
        assert min(size.values()) > 250000
        assert servers['fc1/weights'] != servers['fc2/weights']
        for variable in tf.local_variables():
            assert _device(variable).job == 'worker', variable.name
        heavy = [op for op in graph.get_operations() if op.type in ('Conv2D', 'MatMul')]
        assert heavy and all(_device(op).job == 'worker' for op in heavy)
        # The weights are read once a step, although weight decay needs those of fc1 too.
        reads = [op for op in graph.get_operations() if op.type == 'ReadVariableOp'
                 and op.inputs[0].op.name == 'fc1/weights'
                 and any(consumer.type in ('MatMul', 'L2Loss')
                         for consumer in op.outputs[0].consumers())]
        assert len(reads) == 1
    chief.close()


@pytest.mark.parametrize('mode', ['async', 'sync'])
def test_one_worker_trains_as_a_single_process_does(synthetic, tmp_path, mode):
    """Moving statistics of batch normalization, weight averages and weights are equal."""
    one_thread = tf.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=1)
    setups = [networks.train_setup(synthetic, tmp_path / name, 5, 'normed', deterministic=True)
              for name in ('single', 'cluster')]
    with networks.registered():
        assert loop.train(setups[0], one_thread) == 0
        chief = _chief(setups[1].config, 1, mode, one_thread)
        server = parameter_server.start(chief.spec, Task('ps'), one_thread)
        assert loop.train(setups[1], one_thread, chief) == 0
        del server
        chief.close()
    single, cluster = (tf.train.load_checkpoint(checkpoints.find_checkpoint(setup.run)[1])
                       for setup in setups)
    names = single.get_variable_to_shape_map()
    assert sorted(cluster.get_variable_to_shape_map()) == sorted(names)
    for name in names:
        np.testing.assert_allclose(cluster.get_tensor(name), single.get_tensor(name), rtol=1e-3,
                                   atol=1e-4, err_msg=name)


def test_the_config_hash_tells_different_trainings_apart(synthetic):
    config = networks.train_setup(synthetic, 'run', 5).config
    spec, options = ClusterSpec(('p:1',), ('a:1', 'b:1')), task.TaskOptions('async', 0, 60)

    def config_hash(options=options, spec=spec, **changes):
        return worker.config_hash(dataclasses.replace(config, **changes), options, spec)

    reference = config_hash()
    # These may differ between hosts, or concern the chief alone.
    assert reference == config_hash(data_dir='/elsewhere', save_secs=1, intra_op_threads=3)
    assert reference == config_hash(options=options._replace(wait_secs=1))
    assert reference == config_hash(spec=ClusterSpec(('p:2',), ('a:2', 'b:2')))
    others = [config_hash(seed=2), config_hash(steps=6), config_hash(model='normed'),
              config_hash(options=options._replace(mode='sync')),
              config_hash(options=options._replace(backup_workers=1)),
              config_hash(spec=ClusterSpec(('p:1',), ('a:1',)))]
    assert len({reference, *others}) == 1 + len(others)
