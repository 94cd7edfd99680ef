"""The training graph and the session loop."""

import contextlib
import os
import shlex
import shutil
import socket
import sys
import time

import tensorflow.compat.v1 as tf

from permafrost import runs, runtime
from permafrost.errors import UserError
from permafrost.recipes import durations
from permafrost.training import checkpoints, hooks
from permafrost.training.graph import build
from permafrost.training.signals import Signals
from permafrost.training.strategy import SINGLE_PROCESS


def train(config, dataset, open_run, session_config, strategy=SINGLE_PROCESS):
    """Trains to step `config.steps`, in the run directory that `open_run()` makes or finds.

    `cluster` is that whose chief this is. Returns the exit code: 0 done, 143 or 130 stopped by a
    signal after saving. Raises UserError for what the user can mend.
    """
    with Signals() as signals, tf.Graph().as_default(), strategy.device_scope():
        graph = build(config, dataset, strategy, session_config)
        run = open_run()
        print('run: %s' % run, flush=True)
        with runs.lock(run), _disk_errors(run):
            step, checkpoint = _begin(config, run, dataset)
            if step >= config.steps and not strategy.has_other_tasks:
                print('nothing to do: %s is at step %d already (--steps trains on)' % (run, step))
                runs.write_status(run, state='done')
                return 0
            if checkpoint:
                checkpoints.verify_compatible(checkpoint, {v.op.name: v for v in tf.global_variables()})
            _loop(config, run, graph, signals, session_config, strategy)
            return _end(config, run, signals, strategy)


def _begin(config, run, dataset):
    """Writes config.json; the step to continue from and its checkpoint (0 and None: new)."""
    before = runs.read_config(run)[1] if runs.exists(run) else {}
    if before:
        runs.check_data(run, before, dataset, resuming=True)
    used, here = before.get('versions', []), runtime.versions()
    runs.write_config(run, config, {
        'classes': list(dataset.classes), 'train_images': dataset.counts['train'],
        'data_set_identity': dataset.identity,
        'command': before.get('command', 'python ' + ' '.join(map(shlex.quote, sys.argv))),
        'versions': used + [here] * (here not in used)})
    if not checkpoints.list_checkpoints(run):
        runs.write_status(run, state='running', host=socket.gethostname(), step=0,
                          train_seconds=0., images_per_second=0.)
        return 0, None
    step, checkpoint = checkpoints.find_checkpoint(run)
    runs.write_status(run, state='running', host=socket.gethostname(), step=step)
    print('resuming at step %d' % step, flush=True)
    return step, checkpoint


def _loop(config, run, graph, signals, session_config, strategy):
    saver = tf.train.Saver(max_to_keep=config.max_to_keep or None, save_relative_paths=True)
    there = list(checkpoints.list_checkpoints(run).values())
    if there:
        checkpoints.adopt_existing(saver, there)
    else:  # what TensorFlow would restore may have been deleted
        with contextlib.suppress(FileNotFoundError):
            os.remove(os.path.join(runs.train_dir(run), 'checkpoint'))
    with contextlib.closing(tf.summary.FileWriter(
            runs.train_dir(run), tf.get_default_graph())) as writer:
        found = _hooks(config, run, graph, signals, saver, writer)
        with strategy.session(run, saver, found, signals, session_config) as session:
            while not session.should_stop():
                session.run(graph.train)


def _hooks(config, run, graph, signals, saver, writer):
    """Everything periodic. Progress comes first: a loss that is no number is never saved."""
    recipe = config.recipe
    before = runs.read_status(run)
    start = time.time()
    progress = hooks.LoggingHook(
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
        checkpoints.CheckpointHook(graph.step, saver, os.path.join(runs.train_dir(run), checkpoints.PREFIX),
                             config.save_steps, config.save_secs, finite, saved,
                             lambda step: _diverged(config, run, step)),
        hooks.StopHook(graph.step, config.steps, signals),
        hooks.SessionLogHook(writer)]
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
    last, checkpoint = checkpoints.find_checkpoint(run)
    return UserError(
        'not a finite number at step %d, learning rate %g: the last good checkpoint is %s (step '
        '%d), and kept; train anew with a lower rate, such as --set learning_rate=%g' % (
            step, durations.learning_rate_at(config, step), checkpoint, last,
            config.recipe.learning_rate / 2))


@contextlib.contextmanager
def _disk_errors(run):
    """Turns a full or failing disk into a UserError; checkpoints there are whole."""
    try:
        yield
    except tf.errors.DataLossError as error:
        raise UserError('%s is damaged (%s): delete its files, then --resume from the one before'
                        % (checkpoints.find_checkpoint(run)[1], ' '.join(str(error).split())[:200]))
    except (tf.errors.OpError, OSError) as error:
        text = ' '.join(str(error).split())
        for sign in ('No space left', 'Disk quota', 'Read-only file system', 'File too large',
                     'Permission denied', 'Input/output error'):
            if sign in text:
                for left in os.listdir(runs.train_dir(run)):
                    if '_temp' in left or 'tempstate' in left:
                        _remove(os.path.join(runs.train_dir(run), left))
                last = max(checkpoints.list_checkpoints(run), default=None)
                raise UserError('cannot write to %s (%s): make room, then --resume; the last '
                                'whole checkpoint is %s' % (
                                    run, sign, 'of step %d' % last if last else 'none'))
        raise


def _remove(path):
    shutil.rmtree(path) if os.path.isdir(path) else os.remove(path)


def _end(config, run, signals, strategy):
    step, checkpoint = checkpoints.find_checkpoint(run)
    done = step >= config.steps
    runs.write_status(run, state='done' if done else 'stopped')
    print('%s at step %d: %s' % ('done' if done else 'stopped', step, checkpoint))
    print('next: python %s' % ('eval.py --run ' + run if done else
                               '%s --run %s --resume' % (strategy.script, run)), flush=True)
    return signals.code if not done else 0
