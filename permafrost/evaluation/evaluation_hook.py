"""EvaluationHook: evaluates a training's checkpoints in its own process, and keeps the best one.

    due step -> checkpoint -> Evaluator (a graph and a session of its own) -> row of results.csv
             -> best checkpoint, early stopping -> observers

A training that is killed continues with the same rows: those of steps that it makes again are
dropped, and one that is missing is made from the checkpoint.
"""

import contextlib
import sys
import time
from typing import Any, Callable, Iterator, List, Optional, Sequence

import tensorflow.compat.v1 as tf
import tqdm

from permafrost import runs
from permafrost.errors import UserError, one_line, pluralize, printable
from permafrost.evaluation import history
from permafrost.evaluation.evaluator import Evaluator
from permafrost.evaluation.history import EpochRow
from permafrost.evaluation.metrics import Metrics
from permafrost.evaluation.training_means import TrainingMeans
from permafrost.recipes import durations
from permafrost.training.checkpoints import finding
from permafrost.training.loop import ExtraHooks, Training
from permafrost.training.strategy import FinalHook

BATCH_SIZE = 100  # images. Activations fit in a cache: on two cores twice as fast as 500 for tuto
Observer = Callable[[str, Metrics, EpochRow], None]  # of the run, after each evaluation


def in_training(observers: Sequence[Observer] = ()) -> ExtraHooks:
    """Return the extra_hooks of loop.train that evaluate as the Config of the run says."""
    def hooks(training: Training) -> List[tf.train.SessionRunHook]:
        history.drop_metrics_after(training.run, finding.last_step(training.run))
        if not training.config.eval_epochs:
            return []
        if not training.dataset.counts['test'] and not training.config.validation:
            print(f'note: {printable(training.dataset.name)} has no test images: this training is '
                  'not evaluated (--validation N holds training images out)', flush=True)
            return []
        return [EvaluationHook(training, observers)]
    return hooks


def _print(text: str) -> None:
    """Print a line above the progress bar, if there is one."""
    tqdm.tqdm.write(printable(text))
    sys.stdout.flush()


class _InterruptedError(Exception):
    """A signal came during an evaluation."""


class EvaluationHook(FinalHook):
    """Evaluates every config.eval_epochs epochs and at the end; see the module.

    With config.validation it judges by the images held out, keeps the best checkpoint, and stops
    after config.patience evaluations without a better one. Without it chooses nothing: the test
    images only measure. An observer that fails prints a note.
    """

    def __init__(self, training: Training, observers: Sequence[Observer] = ()):
        self._training, self._observers = training, observers
        self._config, self._run = training.config, training.run
        self._split = history.SELECTION_SPLIT if training.config.validation else 'test'
        self._evaluator: Optional[Evaluator] = None  # made by the first evaluation
        self._resources = contextlib.ExitStack()
        self._ended = False
        self._means = TrainingMeans(training.run)
        training.save.before_save.append(self._means.save)
        self._rows = history.keep_damaged(training.run)
        self._last_step = max([row.step for row in self._rows], default=0)  # of an evaluation
        # Of the steps before, up to the last row, if status.json was lost.
        is_known = 'train_seconds' in runs.read_status(training.run)
        self._unknown_seconds = 0. if is_known or not self._rows else self._rows[-1].train_seconds
        best = self._best_saved()
        training.save.best_step = best.step if best else None

    def after_create_session(self, session: tf.Session, unused_coord: Any) -> None:
        self._ended = False
        step = int(session.run(tf.train.get_global_step()))
        self._begin_step = step
        self._begin_seconds = self._train_seconds()
        self._rows = [row for row in self._rows if row.step <= step]
        history.write(self._run, self._rows)
        self._keep_best()
        self._last_step = max([row.step for row in self._rows], default=0)
        self._means.restore(step)
        if step == self._last_step:
            self._means.clear()
        if self._is_due(step):  # it was killed between the checkpoint and the row
            self._evaluate(session, step)
        self._stop_early()

    def before_run(self, unused_context: Any) -> tf.train.SessionRunArgs:
        graph = self._training.graph
        return tf.train.SessionRunArgs([graph.step, graph.scalars['cross_entropy'],
                                        graph.scalars['accuracy']])

    def after_run(self, context: Any, values: Any) -> None:
        step, cross_entropy, accuracy = values.results
        self._means.add(cross_entropy, accuracy)
        if self._is_due(int(step)):
            self._evaluate(context.session, int(step))
            self._stop_early()

    def end(self, session: tf.Session) -> None:
        if self._ended:  # in a cluster FinishHook ends it first, while the servers are there
            return
        self._training.save.end(session)
        step = self._training.save.last_step
        if self.is_behind(step):
            self._evaluate(session, step)
        self._resources.close()
        self._evaluator, self._ended = None, True

    def is_behind(self, step: int) -> bool:
        # Other workers may make more steps after the last evaluation.
        return self._is_last(step) and self._last_step < self._config.steps

    def _is_last(self, step):
        return step >= self._config.steps and not self._training.stop.reason

    def _is_due(self, step):
        before, now = (int(self._config.epoch_of(each) / self._config.eval_epochs + 1e-9)
                       for each in (self._last_step, step))
        return now > before and not self._training.stop.signals.code

    def _evaluate(self, session: tf.Session, step: int) -> None:
        """Save `session`, which is at `step`, evaluate the checkpoint, record and observe it."""
        self._training.save.save_now(session, step)
        step = self._training.save.last_step  # later than `step` if other workers went on
        start = time.monotonic()
        images_per_second = self._images_per_second(step)
        train_seconds = self._train_seconds()
        with self._pause_clock():
            metrics = self._metrics_at(step)
        if metrics is None:
            return
        row = EpochRow(
            round(self._config.epoch_of(step), 4), step,
            self._means.cross_entropy, self._means.accuracy, self._split,
            float(metrics['cross_entropy']), metrics['accuracy'],
            durations.learning_rate_at(self._config, max(step - 1, 0)),
            round(images_per_second, 1), round(train_seconds, 3))
        self._rows.append(row)
        history.write(self._run, self._rows)
        self._last_step = step
        self._means.clear()
        self._keep_best()
        _print(self._text(row, time.monotonic() - start))
        with self._pause_clock():
            self._observe(metrics, row)
        self._begin_step, self._begin_seconds = step, self._train_seconds()

    def _metrics_at(self, step: int) -> Optional[Metrics]:
        """Return the metrics of a checkpoint; None after a signal or an error, which is printed."""
        try:
            if self._evaluator is None:
                self._evaluator = self._resources.enter_context(
                    Evaluator(self._run, self._training.session_config, self._split,
                              batch_size=BATCH_SIZE, opened=self._training.dataset))
            return self._evaluator.evaluate(step, finding.path_of(self._run, step),
                                            self._before_batch)
        except _InterruptedError:
            return None
        except UserError as error:
            self._last_step = step
            _print(f'note: step {step} is not evaluated: {error}')
            return None

    def _observe(self, metrics: Metrics, row: EpochRow) -> None:
        for observer in self._observers:
            try:
                observer(self._run, metrics, row)
            except Exception as error:  # the training is worth more than a picture of it
                _print(f'note: after step {row.step}: {type(error).__name__}: {one_line(error)}')

    def _before_batch(self) -> None:
        if self._training.stop.signals.code:
            raise _InterruptedError
        self._training.strategy.heartbeat()

    @contextlib.contextmanager
    def _pause_clock(self) -> Iterator[None]:
        """Leave what the block takes out of the time of the training."""
        start = time.monotonic()
        try:
            yield
        finally:
            seconds = time.monotonic() - start
            self._training.progress.exclude(seconds)
            self._training.save.exclude(seconds)

    def _train_seconds(self) -> float:
        return self._unknown_seconds + self._training.save.train_seconds

    def _images_per_second(self, step: int) -> float:
        """Return the speed since the last row, or of the run if no step was made since."""
        seconds = self._train_seconds()
        if step > self._begin_step:
            step, seconds = step - self._begin_step, seconds - self._begin_seconds
        return step * self._config.recipe.batch_size / max(seconds, 1e-3)

    def _text(self, row: EpochRow, seconds: float) -> str:
        is_best = row is history.best(self._candidates())
        training = ('unknown' if row.train_loss is None else
                    f'{row.train_accuracy:.4f} and {row.train_loss:.4f}')
        return (f'epoch {row.epoch:.4g}, step {row.step}: {row.eval_split} accuracy '
                f'{row.eval_accuracy:.4f}{" (best)" * is_best}, cross entropy {row.eval_loss:.4f}; '
                f'training {training} ({seconds:.1f} s)')

    def _keep_best(self) -> None:
        """Keep the checkpoint of the best row; say in status.json which it is."""
        best = self._best_saved()
        step, accuracy = (best.step, best.eval_accuracy) if best else (None, None)
        self._training.save.best_step = step
        if best or runs.read_status(self._run).get('best_step') is not None:
            runs.write_status(self._run, best_step=step, best_accuracy=accuracy)

    def _best_saved(self) -> Optional[EpochRow]:
        """Return the best row with a checkpoint: a user may have deleted that of a better one."""
        saved = finding.list_checkpoints(self._run)
        return history.best([row for row in self._candidates() if row.step in saved])

    def _candidates(self) -> List[EpochRow]:
        return history.of_compressed(self._rows, self._config)

    def _stop_early(self) -> None:
        rows = self._candidates()
        count = history.evaluations_without_improvement(rows)
        if 0 < self._config.patience <= count:
            self._training.stop.reason = (
                f"no better validation accuracy in {pluralize(count, 'evaluation')}; the best "
                f'checkpoint is at step {history.best(rows).step}')
