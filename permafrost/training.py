"""The training graph and the session loop."""

import collections
import contextlib
import os
import shlex
import shutil
import socket
import sys
import time

import tensorflow.compat.v1 as tf

import models
from models.net import Net
from permafrost import checkpoints, engine, hooks, inputs, optimizers, recipes, runs
from permafrost.config import UserError

# Tensors of a training graph: `step` reads the global step after the update of that very run,
# `train` makes the update, `scalars` are {name: scalar tensor} of the batch before it.
Training = collections.namedtuple('Training', 'train step scalars images')


class Local:
    """What training asks of a cluster, where there is none: one process does it all."""
    batches = staticmethod(inputs.training_batches)
    placed = variables = contextlib.nullcontext
    seed = 0  # added to that of dropout
    program = 'train.py'

    def update(self, optimizer, loss, averages):
        """(operation that trains and averages, tensor of the global step after it)."""
        global_step = tf.train.get_global_step()
        with tf.control_dependencies(tf.get_collection(tf.GraphKeys.UPDATE_OPS)):
            update = optimizer.minimize(loss, global_step=global_step)
        with tf.control_dependencies([update]):
            step = global_step.read_value()
            return averages.apply(tf.trainable_variables()) if averages else update, step

    def session(self, run, saver, found, signals, session_config):
        """A MonitoredSession with the hooks `found`; the last checkpoint of `run` is restored."""
        del signals  # a hook's
        return tf.train.MonitoredTrainingSession(
            checkpoint_dir=runs.train_dir(run), scaffold=tf.train.Scaffold(saver=saver),
            hooks=found, save_checkpoint_secs=None, save_summaries_steps=None,
            log_step_count_steps=None, config=session_config)


LOCAL = Local()


def training_graph(config, num_classes, images, labels, cluster=LOCAL):
    """Losses, updates and weight averages in the default graph.

    Args:
      config: a Config.
      num_classes: number of classes of the data set.
      images: float [B, h, w, 3], preprocessed.
      labels: int64 [B].
      cluster: places and combines the updates: a Local or a cluster.Cluster.
    Returns:
      A Training.
    """
    recipe = config.recipe
    global_step = tf.train.get_or_create_global_step()
    net = Net(training=True, num_classes=num_classes, seed=config.seed + cluster.seed,
              step=global_step)
    with cluster.variables():
        logits = models.build(config.model, net, images)
    scalars = _losses(recipe, net, logits, labels)
    rate = tf.convert_to_tensor(recipes.learning_rate(recipe, global_step))
    # num_updates makes the first averages short: decay is (1 + step) / (10 + step).
    averages = tf.train.ExponentialMovingAverage(
        recipe.average_decay, global_step) if recipe.average_decay else None
    update, step = cluster.update(optimizers.optimizer(recipe.optimizer, rate),
                                  scalars['loss'], averages)
    return Training(update, step, dict(scalars, learning_rate=rate), images)


def _losses(recipe, net, logits, labels):
    """{'loss': ..., its parts, 'accuracy'} of a batch, each a scalar."""
    cross_entropy = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(
        logits=logits, labels=labels))
    decay = tf.add_n([recipe.weight_decay * multiplier / v.shape.num_elements() * tf.nn.l2_loss(v)
                      for v, multiplier in net.decayed] or [tf.constant(0.)])
    accuracy = tf.reduce_mean(tf.cast(tf.equal(tf.argmax(logits, 1), labels), tf.float32))
    return {'loss': cross_entropy + decay, 'cross_entropy': cross_entropy,
            'weight_decay': decay, 'accuracy': accuracy}


def train(config, data_set, open_run, session_config, cluster=LOCAL):
    """Trains to step `config.steps`, in the run directory that `open_run()` makes or finds.

    `cluster` is that whose chief this is. Returns the exit code: 0 done, 143 or 130 stopped by a
    signal after saving. Raises UserError for what the user can mend.
    """
    with hooks.Signals() as signals, tf.Graph().as_default(), cluster.placed():
        graph = build(config, data_set, cluster)
        run = open_run()
        print('run: %s' % run, flush=True)
        with runs.lock(run), _disk_errors(run):
            step, checkpoint = _begin(config, run, data_set)
            if step >= config.steps and cluster is LOCAL:  # a cluster's other tasks must be told
                print('nothing to do: %s is at step %d already (--steps trains on)' % (run, step))
                runs.write_status(run, state='done')
                return 0
            if checkpoint:
                checkpoints.check(checkpoint, {v.op.name: v for v in tf.global_variables()})
            _loop(config, run, graph, signals, session_config, cluster)
            return _end(config, run, signals, cluster)


def build(config, data_set, cluster):
    """The Training of `config`, and its input, in the default graph."""
    global_step = tf.train.get_or_create_global_step()
    return training_graph(config, len(data_set.classes),
                          *cluster.batches(data_set, config, global_step), cluster=cluster)


def _begin(config, run, data_set):
    """Writes config.json; the step to continue from and its checkpoint (0 and None: new)."""
    before = runs.read_config(run)[1] if runs.exists(run) else {}
    if before:
        runs.check_data(run, before, data_set, resuming=True)
    used, here = before.get('versions', []), engine.versions()
    runs.write_config(run, config, {
        'classes': list(data_set.classes), 'train_images': data_set.counts['train'],
        'data_set_identity': data_set.identity,
        'command': before.get('command', 'python ' + ' '.join(map(shlex.quote, sys.argv))),
        'versions': used + [here] * (here not in used)})
    if not runs.checkpoints(run):
        runs.write_status(run, state='running', host=socket.gethostname(), step=0,
                          train_seconds=0., images_per_second=0.)
        return 0, None
    step, checkpoint = runs.checkpoint(run)
    runs.write_status(run, state='running', host=socket.gethostname(), step=step)
    print('resuming at step %d' % step, flush=True)
    return step, checkpoint


def _loop(config, run, graph, signals, session_config, cluster):
    saver = tf.train.Saver(max_to_keep=config.max_to_keep or None, save_relative_paths=True)
    there = list(runs.checkpoints(run).values())
    if there:
        checkpoints.take_up(saver, there)
    with contextlib.closing(tf.summary.FileWriter(
            runs.train_dir(run), tf.get_default_graph())) as writer:
        found = _hooks(config, run, graph, signals, saver, writer)
        with cluster.session(run, saver, found, signals, session_config) as session:
            while not session.should_stop():
                session.run(graph.train)


def _hooks(config, run, graph, signals, saver, writer):
    """Everything periodic. Progress comes first: a loss that is no number is never saved."""
    recipe = config.recipe
    before = runs.read_status(run)
    start = time.time()
    progress = hooks.ProgressHook(
        graph.step, {n: graph.scalars[n] for n in ('loss', 'accuracy')}, config.steps,
        recipe.batch_size, config.log_steps, lambda step: _diverged(config, run, step))

    def saved(step):
        seconds = before['train_seconds'] + time.time() - start
        runs.write_status(run, step=step, train_seconds=round(seconds, 1),
                          images_per_second=round(step * recipe.batch_size / seconds, 1))

    with tf.control_dependencies([graph.step]):
        weights = [(v, v.read_value()) for v in tf.trainable_variables()]
    finite = tf.reduce_all([tf.reduce_all(tf.is_finite(v)) for v in tf.trainable_variables()])
    found = [
        progress,
        hooks.CheckpointHook(graph.step, saver, os.path.join(runs.train_dir(run), runs.CHECKPOINT),
                             config.save_steps, config.save_secs, finite, saved,
                             lambda step: _diverged(config, run, step)),
        hooks.StopHook(graph.step, config.steps, signals),
        hooks.StartHook(writer)]
    if config.summary_steps:
        scalars = [tf.summary.scalar(name, value) for name, value in graph.scalars.items()]
        found.append(hooks.SummaryHook(graph.step, writer, tf.summary.merge(scalars),
                                       config.summary_steps, lambda: progress.images_per_second))
    if config.histogram_steps:
        pictures = [tf.summary.image('images', graph.images, 8)]
        with tf.name_scope('histograms'):  # else the tags would be made unlike the variables'
            pictures += [tf.summary.histogram(variable.op.name, value)
                         for variable, value in weights]
        found.append(hooks.SummaryHook(graph.step, writer, tf.summary.merge(pictures),
                                       config.histogram_steps))
    return found


def _diverged(config, run, step):
    """The UserError of a loss or weight at `step` that is not a finite number."""
    runs.write_status(run, state='failed')
    last, checkpoint = runs.checkpoint(run)
    return UserError(
        'not a finite number at step %d, learning rate %g: the last good checkpoint is %s (step '
        '%d), and kept; train anew with a lower rate, such as --set learning_rate=%g' % (
            step, recipes.learning_rate(config.recipe, step), checkpoint, last,
            recipes.learning_rate(config.recipe, step) / 2))


@contextlib.contextmanager
def _disk_errors(run):
    """Turns a full or failing disk into a UserError; checkpoints there are whole."""
    try:
        yield
    except tf.errors.DataLossError as error:
        raise UserError('%s is damaged (%s): delete its files, then --resume from the one before'
                        % (runs.checkpoint(run)[1], ' '.join(str(error).split())[:200]))
    except (tf.errors.OpError, OSError) as error:
        text = ' '.join(str(error).split())
        for sign in ('No space left', 'Disk quota', 'Read-only file system', 'File too large',
                     'Permission denied', 'Input/output error'):
            if sign in text:
                for left in os.listdir(runs.train_dir(run)):
                    if '_temp' in left or 'tempstate' in left:
                        _remove(os.path.join(runs.train_dir(run), left))
                last = max(runs.checkpoints(run), default=None)
                raise UserError('cannot write to %s (%s): make room, then --resume; the last '
                                'whole checkpoint is %s' % (
                                    run, sign, 'of step %d' % last if last else 'none'))
        raise


def _remove(path):
    shutil.rmtree(path) if os.path.isdir(path) else os.remove(path)


def _end(config, run, signals, cluster):
    step, checkpoint = runs.checkpoint(run)
    done = step >= config.steps
    runs.write_status(run, state='done' if done else 'stopped')
    print('%s at step %d: %s' % ('done' if done else 'stopped', step, checkpoint))
    print('next: python %s' % ('eval.py --run ' + run if done else
                               '%s --run %s --resume' % (cluster.program, run)), flush=True)
    return signals.code if not done else 0
