"""Where a worker's graph places what, and a batch-normalised network trained through it."""

import contextlib
import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from permafrost import engines, runs
from permafrost.cluster import cluster_spec, worker
from permafrost.cluster.cluster_spec import ClusterSpec, Task, TaskOptions
from permafrost.cluster.servers import grpc_server
from permafrost.datasets import loading
from permafrost.errors import UserError
from permafrost.evaluation import evaluation_hook, history
from permafrost.inputs.augmentation import WHOLE_BATCH, Shard
from permafrost.training import loop, strategy
from permafrost.training.checkpoints import finding
from permafrost.training.graph import build
from permafrost.transfer import teachers
from tests import in_process, networks
from tests.cluster import helpers


def _worker(setup, servers, mode='async', session_config=None, spec=None, index=0, backups=0,
            **options):
    """Return a worker of a cluster; by default the chief, and only worker."""
    spec = spec or helpers.free_spec(servers, 1)
    context = cluster_spec.TaskContext(spec, Task('worker', index), '')
    return worker.ClusterWorker(context, TaskOptions(mode, backups, 60, **options), setup,
                                session_config or tf.ConfigProto())


def _device(value):
    return tf.DeviceSpec.from_string(value.device)


@pytest.mark.parametrize('mode', ['async', 'sync'])
def test_variables_are_spread_over_the_servers_and_the_rest_is_on_the_worker(synthetic, mode):
    setup = networks.train_setup(synthetic, 'run', 1, 'tuto', changes=[
        'layer_weight_decay=0', 'weight_decay=0.001'])
    chief = _worker(setup, 2, mode)
    with tf.Graph().as_default() as graph, chief.device_scope():
        build(setup.config, synthetic, chief)
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
        # The weights are read once a step, although the weight decay needs them too.
        reads = [op for op in graph.get_operations() if op.type == 'ReadVariableOp'
                 and op.inputs[0].op.name == 'fc1/weights'
                 and any(consumer.type in ('MatMul', 'L2Loss')
                         for consumer in op.outputs[0].consumers())]
        assert len(reads) == 1
        assert [op.type for op in reads[0].outputs[0].consumers()].count('L2Loss') == 1
    chief.close()


@pytest.mark.parametrize('mode, backups', [('async', 0), ('sync', 0), ('sync', 1)])
def test_one_worker_trains_as_a_single_process_does(synthetic, tmp_path, mode, backups):
    """Moving statistics of batch normalization, weight averages, weights and masks are equal.

    With a backup worker, a step needs one worker of two; the other is not there.
    """
    one_thread = tf.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=1)
    setups = [networks.train_setup(synthetic, tmp_path / name, 5, 'normed', deterministic=True,
                                   changes=['sparsity=0.5', 'prune_epochs=0.001'])
              for name in ('single', 'cluster')]
    with networks.registered():
        assert loop.train(setups[0], one_thread) == 0
        chief = _worker(setups[1], 1, mode, one_thread, helpers.free_spec(1, 1 + backups),
                        backups=backups)
        with helpers.serving(chief.spec):
            assert loop.train(setups[1], one_thread, chief) == 0
        chief.close()
    single, cluster = (tf.train.load_checkpoint(finding.find_checkpoint(setup.run)[1])
                       for setup in setups)
    names = single.get_variable_to_shape_map()
    assert single.get_tensor('conv2/weights/mask').mean() == .5
    assert sorted(cluster.get_variable_to_shape_map()) == sorted(names)
    for name in names:
        np.testing.assert_allclose(cluster.get_tensor(name), single.get_tensor(name), rtol=1e-3,
                                   atol=1e-4, err_msg=name)


@pytest.mark.skipif(not engines.has_bfloat16(engines.installed()), reason='needs bfloat16')
@pytest.mark.parametrize('model', ['squeeze1', 'sprint'])
def test_a_worker_trains_in_bfloat16(synthetic, tmp_path, model):
    """squeeze1: a bias and a ReLU follow each convolution, and local sessions fuse the three.

    sprint: the compiled kernels are in the graph of the worker, some of them in a tf.cond.
    """
    setup = networks.train_setup(synthetic, tmp_path, 2, model, changes=[
        'compute_dtype=bfloat16', 'batch_size=8', 'image_size=32',
        'param_groups=biases freeze_epoch=1'])
    chief = _worker(setup, 1, 'async', tf.ConfigProto())
    with helpers.serving(chief.spec):
        assert loop.train(setup, tf.ConfigProto(), chief) == 0
    chief.close()


@pytest.mark.parametrize('mode, source, expected', [
    ('async', 'memory', (3, 1, WHOLE_BATCH)), ('async', 'stream', (3, 1, WHOLE_BATCH)),
    ('sync', 'memory', (7, 0, Shard(1, 2))), ('sync', 'stream', (7, 1, Shard(1, 2)))])
def test_each_worker_reads_images_of_its_own(synthetic, monkeypatch, mode, source, expected):
    """Async: a stream of its own, half of the steps. Sync: half of each batch, or of its own."""
    found = []

    def batches(dataset, config, step, index=0, shard=WHOLE_BATCH, teach=None):
        found.append((step, index, shard))
        return tf.zeros([1]), tf.zeros([1], tf.int64)

    monkeypatch.setattr(worker.pipeline, 'training_batches', batches)
    setup = networks.train_setup(synthetic, 'run', 9, source=source)
    second = _worker(setup, 1, mode, spec=helpers.free_spec(1, 2), index=1)
    second.batches(synthetic, setup.config, None)
    second._feed_hook._first_step = 7
    (step, *others), = found
    with tf.Session(graph=step.graph) as session:
        assert (session.run(step), *others) == expected
    second.close()


def test_a_taught_worker_trains_as_a_taught_process_does(synthetic, tmp_path):
    """The teacher answers in the input pipeline of the worker: the servers hold nothing of it."""
    one_thread = tf.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=1)
    with networks.registered():
        networks.train(synthetic, tmp_path / 'teacher', 3)
        setups = [teachers.with_teacher(networks.train_setup(
            synthetic, tmp_path / name, 3, 'normed', deterministic=True,
            teacher=str(tmp_path / 'teacher'))) for name in ('single', 'cluster')]
        assert loop.train(setups[0], one_thread) == 0
        chief = _worker(setups[1], 1, 'sync', one_thread)
        with helpers.serving(chief.spec):
            assert loop.train(setups[1], one_thread, chief) == 0
        chief.close()
    single, cluster = (tf.train.load_checkpoint(finding.find_checkpoint(setup.run)[1])
                       for setup in setups)
    assert sorted(cluster.get_variable_to_shape_map()) == sorted(
        single.get_variable_to_shape_map())
    for name in ('conv1/weights', 'conv3/weights'):
        np.testing.assert_allclose(cluster.get_tensor(name), single.get_tensor(name), rtol=1e-3,
                                   atol=1e-4, err_msg=name)
    options, context = TaskOptions('async', 0, 60), ClusterSpec(('p:1',), ('a:1', 'b:1'))
    here, there = (worker.shared_settings(setup, options, context) for setup in (
        setups[0], setups[0]._replace(config=dataclasses.replace(
            setups[0].config, teacher='elsewhere'))))
    assert here == there and here['teacher'] == setups[0].teacher.sha256


@pytest.mark.parametrize('mode', ['async', 'sync'])
def test_a_chief_evaluates_and_stops_early_as_a_single_process_does(synthetic, tmp_path, mode):
    """The rows and the best checkpoint are the same; the servers hear that the run is saved."""
    one_thread = tf.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=1)
    data = loading.hold_out(synthetic, 100, 1)
    setups = [networks.train_setup(data, tmp_path / name, 90, deterministic=True, validation=100,
                                   eval_epochs=.5, patience=2, changes=['learning_rate=1e-6'])
              for name in ('single', 'cluster')]
    hooks = evaluation_hook.in_training()
    with networks.registered():
        assert loop.train(setups[0], one_thread, extra_hooks=hooks) == 0
        chief = _worker(setups[1], 1, mode, one_thread)
        with helpers.serving(chief.spec) as (publisher,):
            assert loop.train(setups[1], one_thread, chief, extra_hooks=hooks) == 0
            publisher.poll()
            assert publisher.state.saved
        chief.close()
    single, cluster = ([dataclasses.replace(row, images_per_second=0, train_seconds=0)
                        for row in history.read(setup.run)] for setup in setups)
    assert len(single) > 2 and single[-1].step < 90
    assert [row.step for row in cluster] == [row.step for row in single]
    np.testing.assert_allclose([row.eval_loss for row in cluster],
                               [row.eval_loss for row in single], rtol=1e-4)
    statuses = [runs.read_status(setup.run) for setup in setups]
    assert {status['state'] for status in statuses} == {'done'}
    assert statuses[0]['best_step'] == statuses[1]['best_step'] == history.best(single).step


def test_what_all_workers_must_agree_on(synthetic):
    setup = networks.train_setup(synthetic, 'run', 5)
    spec, options = ClusterSpec(('p:1',), ('a:1', 'b:1')), TaskOptions('async', 0, 60)

    def training(options=options, spec=spec, dataset=synthetic, **changes):
        config = dataclasses.replace(setup.config, **changes)
        return worker.shared_settings(setup._replace(config=config, dataset=dataset), options, spec)

    reference = training()
    assert reference == json.loads(json.dumps(reference))
    # These may differ between hosts, or concern the chief alone.
    assert reference == training(data_dir='/elsewhere', save_secs=1, intra_op_threads=3)
    assert reference == training(options=options._replace(wait_secs=1, overwrite=True))
    assert reference == training(spec=ClusterSpec(('p:2',), ('a:2', 'b:2')))
    recipe = dataclasses.replace(setup.config.recipe, learning_rate=1e-9)
    others = {'seed': training(seed=2), 'validation': training(validation=9),
              'steps': training(steps=6),
              'model': training(model='normed'), 'learning_rate': training(recipe=recipe),
              'mode': training(options=options._replace(mode='sync')),
              'backup_workers': training(options=options._replace(backup_workers=1)),
              'workers': training(spec=ClusterSpec(('p:1',), ('a:1',))),
              # The recipe of this training keeps no statistics that would tell.
              'dataset_identity': training(dataset=synthetic._replace(identity='other'))}
    for name, other in others.items():
        assert [field for field in reference if other[field] != reference[field]] == [name]


def test_a_chief_that_is_refused_leaves_no_run_and_changes_nothing(synthetic, tmp_path,
                                                                   monkeypatch):
    """It trains the same model at the same servers; its run is another."""
    one_thread = tf.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=1)

    def setup(name, steps, **options):
        return networks.train_setup(
            synthetic, tmp_path / name, steps, deterministic=True, **options)

    spec = helpers.free_spec(1, 1)
    server = grpc_server.start(spec, Task('worker'), one_thread)
    monkeypatch.setattr(grpc_server, 'start', lambda *arguments: server)  # of all
    with networks.registered(), helpers.serving(spec) as (publisher,):
        half = setup('first', 2)
        assert loop.train(half, one_thread, _worker(half, 1, spec=spec)) == 0
        second = _worker(setup('second', 2), 1, spec=spec)
        with pytest.raises(UserError, match='serves the run .*/first of tiny on .* at step 2: '):
            second.join()
        assert publisher.state.run['place'] == str(tmp_path / 'first')
        assert second.servers.global_step() == 2 and not (tmp_path / 'second').exists()
        whole, undisturbed = setup('first', 4, resume=True), setup('undisturbed', 4)
        assert loop.train(whole, one_thread, _worker(whole, 1, spec=spec)) == 0
        assert loop.train(undisturbed, one_thread) == 0
    first, expected = (tf.train.load_checkpoint(finding.find_checkpoint(each.run)[1])
                       for each in (whole, undisturbed))
    for name in expected.get_variable_to_shape_map():
        np.testing.assert_allclose(first.get_tensor(name), expected.get_tensor(name), rtol=1e-5,
                                   atol=1e-6, err_msg=name)


@pytest.mark.parametrize('resume, index, has_files, expected', [
    (True, 0, False, True),  # the disk of the chief is lost
    (True, 0, True, False), (False, 0, False, False), (True, 1, False, False)])
def test_a_chief_without_files_continues_its_run_only_if_it_resumes(
        synthetic, tmp_path, resume, index, has_files, expected):
    spec = helpers.free_spec(1, 2)
    if has_files:
        cluster_spec.save_cluster_json(str(tmp_path), spec, 'async', 0, 7)
    setup = networks.train_setup(synthetic, tmp_path, 2, resume=has_files)
    member = _worker(setup, 1, spec=spec, index=index, resume=resume)
    admission = member._admission
    member.close()
    assert admission.continue_lost == expected
    assert (admission.claim is None) == bool(index)
    assert not has_files or admission.run_id == 7


def test_the_next_command_starts_the_chief_again(monkeypatch):
    monkeypatch.delenv('TF_CONFIG', False)
    command = worker.resume_command()
    assert command == ('train_cluster.py', ('--job_name=worker', '--task_index=0'))
    assert in_process.parse_flags(*command) == {'job_name': 'worker', 'task_index': 0}
    monkeypatch.setenv('TF_CONFIG', '{}')
    assert worker.resume_command() == ('train_cluster.py', ())
    assert worker.resume_command(allow_public=True)[1] == ('--allow_public',)
    monkeypatch.setenv(cluster_spec.LOCAL_CLUSTER, '--ps=2 --workers=3')
    command = worker.resume_command()
    assert command == ('tools/local_cluster.py', ('--ps=2', '--workers=3'))
    assert in_process.parse_flags(*command) == {'ps': 2, 'workers': 3}


def test_a_dataset_that_changes_ends_a_worker_in_one_line(synthetic):
    """TensorFlow turns the error of a function in the graph into one of its own."""
    def fail():
        raise UserError('a.tfrecord has changed: start again')

    with tf.Graph().as_default(), tf.Session() as session:
        read = tf.py_func(fail, [], tf.int64)
        member = _Member(should_stop=lambda: False, run=lambda unused: session.run(read))
        _check_error(synthetic, member, '^a.tfrecord has changed: start again$')


def test_a_worker_whose_chief_ends_early_fails(synthetic):
    """So that what started it starts it again."""
    member = _Member(should_stop=lambda: True)
    member.finish_hook = SimpleNamespace(saved=False)
    _check_error(synthetic, member, '^the training ended before its last step: start this task ')


class _Member(strategy.SingleProcess):
    """A worker of no cluster, whose session is as given."""

    def __init__(self, **session):
        self._session = SimpleNamespace(**session)

    @contextlib.contextmanager
    def session(self, *unused):
        yield self._session


def _check_error(dataset, member, message):
    setup = networks.train_setup(dataset, 'run', 5)
    with networks.registered(), pytest.raises(UserError, match=message):
        worker.train_worker(setup, None, member)
