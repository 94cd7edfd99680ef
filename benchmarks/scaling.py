"""What a cluster would reach: tools/scaling.py plan --link_gbits 10, or check --result FILE."""

import json
import os
import re
import resource
import sys
import time

from absl import flags

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..'))

import models
from benchmarks import scaling_model
from permafrost import runtime
from permafrost.flags import run_script
from permafrost.cluster import local_cluster
from permafrost.errors import UsageError, unknown_name_error

SCRIPT = {'module_name': sys.argv[0]}
NAME = sys.argv.pop(1) if sys.argv[1:] and sys.argv[1][0] != '-' else 'plan'
flags.DEFINE_float('link_gbits', 10., "Of plan: each machine's link, Gbit/s.", 0.001, **SCRIPT)
flags.DEFINE_list('workers', ['4', '16', '64', '256'], 'Of plan: numbers of workers.', **SCRIPT)
flags.DEFINE_float('images_per_second', 1000., 'Of plan: what a worker does alone.', 0.1, **SCRIPT)
flags.DEFINE_list('models', ['tuto', 'alex4', 'squeeze1', 'nin2'], 'Of plan: models.', **SCRIPT)
flags.DEFINE_string('result', None, 'Of check: benchmark-cluster-<engine>.json.', **SCRIPT)
FLAGS = flags.FLAGS
BATCH = 128


def plan():
    """Prints how many servers each number of workers needs, and what they then do."""
    if not all(re.match(r'[1-9]\d{0,8}$', count) for count in FLAGS.workers):
        raise UsageError('--workers takes numbers of workers, such as 4,16, not %s'
                                % ','.join(FLAGS.workers))
    counts = list(map(int, FLAGS.workers))
    for model in FLAGS.models:
        if model not in models.MODELS:
            raise unknown_name_error('model', model, models.MODELS)
    runtime.prepare()
    from benchmarks import cluster
    link = FLAGS.link_gbits * 1e9 / 8
    print('%-10s %10s %8s %8s %12s %12s' % (
        'model', 'bytes', 'workers', 'servers', 'images/s', 'one server'))
    for model in FLAGS.models:
        size = cluster.variable_bytes(model)
        for count in counts:
            compute = BATCH / FLAGS.images_per_second
            servers = scaling_model.servers_needed(count, size, compute, link)
            rates = [BATCH * scaling_model.on_many(count, n, size, compute, link) for n in (servers, 1)]
            print('%-10s %10d %8d %8d %12.0f %12.0f' % (model, size, count, servers, *rates),
                  flush=True)


def transport(model, session_config):
    """((seconds, processor seconds) of bringing the variables of `model`, of taking gradients).

    Between two servers in this process, through the loopback interface, as in a cluster.
    """
    import tensorflow.compat.v1 as tf
    from permafrost.recipes import overrides
    from permafrost.training import graph
    from permafrost.config import Config
    recipe = overrides.get_recipe('tutorial')
    with tf.Graph().as_default():
        side = recipe.image_size
        graph.build_train_graph(Config(model, recipe, 1), 10, tf.zeros([2, side, side, 3]),
                                tf.zeros([2], tf.int64))
        shapes = [v.shape for v in tf.trainable_variables()]
    hosts = ['127.0.0.1:%d' % port for port in local_cluster.free_ports(2)]
    spec = tf.train.ClusterSpec({'ps': hosts[:1], 'worker': hosts[1:]})
    servers = [tf.train.Server(spec, job, 0, config=session_config) for job in ('ps', 'worker')]
    with tf.Graph().as_default():
        with tf.device('/job:ps/cpu:0'):
            held = [tf.get_variable('v%d' % i, shape) for i, shape in enumerate(shapes)]
        with tf.device('/job:worker/cpu:0'):
            pull = tf.group([tf.identity(v.value()) for v in held])
            made = [tf.get_variable('g%d' % i, shape) for i, shape in enumerate(shapes)]
        optimizer = tf.train.GradientDescentOptimizer(.1)
        averages = tf.train.ExponentialMovingAverage(.9999)
        with tf.control_dependencies([optimizer.apply_gradients(
                [(g.value(), v) for g, v in zip(made, held)])]):
            push = averages.apply(held)
        with tf.Session(servers[1].target, config=session_config) as session:
            session.run(tf.global_variables_initializer())
            return _cost(lambda: session.run(pull)), _cost(lambda: session.run(push))


def _cost(call, seconds=4.):
    """(seconds, processor seconds) of a call."""
    for _ in range(20):
        call()
    calls, start, before = 0, time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
    while time.perf_counter() - start < seconds:
        call()
        calls += 1
    after = resource.getrusage(resource.RUSAGE_SELF)
    return ((time.perf_counter() - start) / calls,
            (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / calls)


def check():
    """Predicts 1 and 2 workers from training without a cluster and from the transport alone, and
    sets the predictions beside what was measured."""
    if not FLAGS.result:
        raise UsageError('check needs --result, of tools/benchmark.py cluster')
    with open(FLAGS.result) as stream:
        try:
            found = json.load(stream)
        except ValueError:
            found = {}
    if 'variable_bytes' not in found:
        raise UsageError('%s is not of tools/benchmark.py cluster' % FLAGS.result)
    session_config = runtime.prepare()
    for model in found['variable_bytes']:
        figures = {name: figure['median'] for name, figure in found['figures'].items()}
        local = found['batch_size'] / figures[model + ' local']
        work = figures[model + ' local: worker 0'] / 1000
        pull, push = transport(model, session_config)
        print('%s: step %.1f ms (processor %.1f), pull %.1f (%.1f), push %.1f (%.1f)' % (
            (model,) + tuple(1000 * s for s in (local, work) + pull + push)))
        for workers in (1, 2):
            name = '%s %d worker%s' % (model, workers, 's' * (workers > 1))
            predicted = found['batch_size'] * scaling_model.on_one_host(
                workers, found['machine']['cores'], (local, work), pull, push)
            print('%s: predicted %.0f images/s, measured %.0f (%+.0f %%)' % (
                name, predicted, figures[name], 100 * (predicted / figures[name] - 1)))


def main():
    if NAME not in ('plan', 'check'):
        raise unknown_name_error('command', NAME, ('plan', 'check'))
    return {'plan': plan, 'check': check}[NAME]()


if __name__ == '__main__':
    run_script(main)
