"""The training graph and the session loop."""

import collections
import contextlib
import functools
import math
import os
import shlex
import shutil
import socket
import sys
import time

import tensorflow.compat.v1 as tf

import models
from models.net import Net
from permafrost import averages, checkpoints, engine, hooks, inputs, optimizers, recipes, runs
from permafrost import schedules
from permafrost.config import UserError, nearest

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


def training_graph(config, num_classes, images, labels, cluster=LOCAL, sample=None):
    """Losses, updates and weight averages in the default graph.

    Args:
      config: a Config.
      num_classes: number of classes of the data set.
      images: float [B, h, w, 3], preprocessed.
      labels: int64 [B].
      cluster: places and combines the updates: a Local or a cluster.Cluster.
      sample: see Net.
    Returns:
      A Training.
    Raises UserError where the model cannot be built for such images.
    """
    recipe = config.recipe
    if recipe.precision != 'float32' and engine.installed() != 'tf2':
        raise UserError('this run is trained in %s, which %s has not: resume it with tf2' % (
            recipe.precision, engine.installed()))
    global_step = tf.train.get_or_create_global_step()
    net = Net(training=True, num_classes=num_classes, seed=config.seed + cluster.seed,
              step=global_step, sample=sample, precision=recipe.precision)
    try:
        with cluster.variables():
            logits = models.build(config.model, net, images)
    except ValueError as error:
        raise UserError('%s cannot be built for images of %dx%d (%s): try --set image_size=%d' % (
            (config.model,) + tuple(images.shape.as_list()[1:3])
            + (str(error).splitlines()[0][:200], models.IMAGE_SIZES.get(config.model, 32))))
    scalars = _losses(recipe, net, logits, labels)
    rate = tf.cast(recipes.learning_rate(config, tf.cast(global_step, tf.float64),
                                         schedules.tensors()), tf.float32)
    update, step = cluster.update(_optimizer(config, rate, global_step), scalars['loss'],
                                  averages.averages(config, global_step))
    return Training(update, step, dict(scalars, learning_rate=rate), images)


def _optimizer(config, rate, global_step):
    """The recipe's optimizer, with the rules of the recipe for each variable."""
    recipe = config.recipe
    epoch = recipes.epoch(config, tf.cast(global_step, tf.float64))

    def own_rate(variable):
        rule = recipes.rule(recipe, variable.op.name)
        own = rate * rule.rate if rule.rate != 1 else rate
        return own if math.isinf(rule.until) else own * tf.cast(epoch < rule.until, tf.float32)

    def own_decay(variable):
        if recipe.decay_mode != 'decoupled':
            return 0.
        return recipe.weight_decay * recipes.rule(recipe, variable.op.name).decay
    return optimizers.optimizer(recipe.optimizer, own_rate, own_decay, recipe.momentum,
                                global_step)


def _losses(recipe, net, logits, labels):
    """{'loss': ..., its parts, 'accuracy'} of a batch, each a scalar."""
    if recipe.decay_mode not in DECAYS:
        raise nearest('decay_mode', recipe.decay_mode, DECAYS)
    if recipe.label_smoothing:
        classes = logits.shape.as_list()[1]
        cross_entropy = tf.nn.softmax_cross_entropy_with_logits_v2(
            logits=logits, labels=tf.one_hot(
                labels, classes, 1 - recipe.label_smoothing * (1 - 1 / classes),
                recipe.label_smoothing / classes))
    else:
        cross_entropy = tf.nn.sparse_softmax_cross_entropy_with_logits(
            logits=logits, labels=labels)
    cross_entropy = tf.reduce_mean(cross_entropy)
    decay = tf.add_n([by * tf.nn.l2_loss(v) for v, by in DECAYS[recipe.decay_mode](recipe, net)]
                     or [tf.constant(0.)])
    accuracy = tf.reduce_mean(tf.cast(tf.equal(tf.argmax(logits, 1), labels), tf.float32))
    return {'loss': cross_entropy + decay, 'cross_entropy': cross_entropy,
            'weight_decay': decay, 'accuracy': accuracy}


def _by_layers(recipe, net):
    return [(v, recipe.weight_decay * multiplier / v.shape.num_elements())
            for v, multiplier in net.decayed]


def _coupled(recipe, unused_net):
    pairs = [(v, recipe.weight_decay * recipes.rule(recipe, v.op.name).decay)
             for v in tf.trainable_variables()]
    return [(v, by) for v, by in pairs if by]


# What weight decay adds to the loss, as pairs of a variable and what multiplies half its squares:
# layers: weight_decay / size, times what the model says, for the layers that it says.
# coupled: weight_decay, for every variable.
# decoupled: nothing; the optimizer takes rate * weight_decay of each variable off it
# (https://arxiv.org/abs/1711.05101). In the last two rules may say otherwise.
DECAYS = {'layers': _by_layers, 'coupled': _coupled, 'decoupled': lambda *unused: []}


def train(config, data_set, open_run, session_config, cluster=LOCAL):
    """Trains to step `config.steps`, in the run directory that `open_run()` makes or finds.

    `cluster` is that whose chief this is. Returns the exit code: 0 done, 143 or 130 stopped by a
    signal after saving. Raises UserError for what the user can mend.
    """
    with hooks.Signals() as signals, tf.Graph().as_default(), cluster.placed():
        graph = build(config, data_set, cluster, session_config)
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


def build(config, data_set, cluster, session_config=None):
    """The Training of `config`, and its input, in the default graph."""
    global_step = tf.train.get_or_create_global_step()
    return training_graph(
        config, len(data_set.classes), *cluster.batches(data_set, config, global_step),
        cluster=cluster,
        sample=functools.partial(inputs.sample, data_set, config, session_config))


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
    else:  # what TensorFlow would restore may have been deleted
        with contextlib.suppress(FileNotFoundError):
            os.remove(os.path.join(runs.train_dir(run), 'checkpoint'))
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
        times = {}
        if 'train_seconds' in before:  # else how long the steps before this start took is not known
            seconds = before['train_seconds'] + time.time() - start
            times = {'train_seconds': round(seconds, 1),
                     'images_per_second': round(step * recipe.batch_size / seconds, 1)}
        runs.write_status(run, step=step, **times)

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
            step, recipes.learning_rate(config, step), checkpoint, last,
            config.recipe.learning_rate / 2))


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
