"""The training loop: build the graph, list the hooks, open the session, run."""

import contextlib
import shlex
import socket
import sys
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence

import tensorflow.compat.v1 as tf

from permafrost import engines, runs
from permafrost.cli import commands
from permafrost.config import Config, with_earlier_compute_dtype
from permafrost.datasets.loading import Dataset
from permafrost.errors import UsageError, UserError, printable
from permafrost.recipes import overrides
from permafrost.training import hooks
from permafrost.training.checkpoints import checkpoint_hook, finding, saving
from permafrost.training.compression.pruning import PruningHook
from permafrost.training.graph import TrainGraph, build
from permafrost.training.setup import TrainSetup
from permafrost.training.signals import Signals
from permafrost.training.strategy import SINGLE_PROCESS, FinalHook, Strategy
from permafrost.training.tensorboard import summaries
from permafrost.training.tensorboard.event_writer import EventWriter


class Training(NamedTuple):
    """A training that is about to open its session, for the hooks of `extra_hooks`."""
    run: str
    config: Config
    dataset: Dataset
    graph: TrainGraph
    progress: hooks.LoggingHook
    save: checkpoint_hook.CheckpointHook
    stop: hooks.StopHook
    strategy: Strategy
    session_config: Optional[tf.ConfigProto]


ExtraHooks = Callable[[Training], List[tf.train.SessionRunHook]]


def train(setup: TrainSetup, session_config: Optional[tf.ConfigProto] = None,
          strategy: Strategy = SINGLE_PROCESS, extra_hooks: ExtraHooks = lambda _: [],
          at_end: Callable[[str], Any] = lambda run: None) -> int:
    """Train to step `setup.config.steps`; a worker of a cluster must be its chief.

    The hooks of `extra_hooks` run before each step's checkpoint is saved. `at_end` is called with
    the run directory when status.json has its last state, after an error too.

    Return the exit code: 0 when done, 128 plus the number of the signal that stopped the training,
    1 if it ended otherwise.
    """
    with Signals() as signals, tf.Graph().as_default(), strategy.device_scope():
        graph = build(setup.config, setup.dataset, strategy, session_config, setup.trained,
                      setup.teacher)
        if signals.code:  # leave no empty run behind
            print(f'stopped by {signals.name}', flush=True)
            return signals.code
        run = setup.open_run()
        print(f'run: {printable(run)}', flush=True)
        with runs.lock(run):
            try:
                with saving.explain_disk_errors(run):
                    code = _train_in(run, setup, graph, session_config, strategy, extra_hooks,
                                     signals)
            except (Exception, SystemExit):  # SystemExit: a signal while a server is awaited
                _note_the_end(run)
                at_end(run)
                raise
            at_end(run)
            return code


def _train_in(run: str, setup: TrainSetup, graph: TrainGraph,
              session_config: Optional[tf.ConfigProto], strategy: Strategy, extra_hooks: ExtraHooks,
              signals: Signals) -> int:
    """Train in the directory `run`, which this process has locked; return the exit code."""
    config = setup.config
    step = _record_start(setup, run)
    progress = hooks.LoggingHook(graph, config, run)
    save = checkpoint_hook.CheckpointHook(run, config, graph.step)
    stop = hooks.StopHook(graph.step, config.steps, signals)
    extra = extra_hooks(Training(run, config, setup.dataset, graph, progress, save, stop, strategy,
                                 session_config))
    if step >= config.steps and not strategy.has_other_tasks and not _is_behind(extra, step):
        print(f'nothing to do: {printable(run)} is already at step {step} (raise --steps to '
              'continue)')
        runs.write_status(run, state='done')
        return 0
    with contextlib.closing(EventWriter(runs.train_dir(run), tf.get_default_graph())) as writer:
        # Progress comes first, so that weights after a NaN loss are never saved.
        prune = [PruningHook(graph.pruner, config, graph.step)] if graph.pruner else []
        train_hooks = [progress, *prune, *extra, save, stop,
                       *summaries.summary_hooks(graph, config, writer, progress)]
        with strategy.session(run, save.saver, train_hooks, signals, session_config) as session:
            while not session.should_stop():
                session.run(graph.train)
    step = finding.last_step(run)
    is_done = ((step >= config.steps or bool(stop.reason)) and not _is_behind(extra, step) and
               strategy.others_know)
    return _record_end(run, is_done, stop, strategy, bool(setup.dataset.counts['test']))


def _note_the_end(run: str) -> None:
    """Let status.json say that a training ended early, unless it says so already."""
    with contextlib.suppress(OSError, UserError):
        if runs.read_status(run).get('state') == 'running':
            runs.write_status(run, state='stopped')


def _is_behind(extra: Sequence[tf.train.SessionRunHook], step: int) -> bool:
    return any(isinstance(each, FinalHook) and each.is_behind(step) for each in extra)


def _record_start(setup: TrainSetup, run: str) -> int:
    """Write config.json and status.json; return the step from which the training continues."""
    config, dataset, teacher = setup.config, setup.dataset, setup.teacher
    step = finding.last_step(run)
    previous: Dict[str, Any] = {}
    if runs.exists(run):
        previous_config, previous = runs.read_config(run)
        runs.check_data(run, previous, dataset, resuming=True)
        if config.steps < min(step, previous_config.steps):
            raise UsageError(f'{printable(run)} is at step {step} of {previous_config.steps}, past '
                             f'--steps={config.steps}: leave --steps out, or raise it')
        config = with_earlier_compute_dtype(config, previous_config, step)
    versions = previous.get('versions', [])
    if step < config.steps or not versions:  # the last one trains the last step
        versions = [each for each in versions if each != engines.versions()] + [engines.versions()]
    if teacher:
        teacher.save(run)  # first: config.json makes it a run, which needs its teacher
    runs.write_config(run, config, {
        **({'teacher_sha256': teacher.sha256} if teacher else {}),
        'classes': list(dataset.classes), 'train_images': dataset.counts['train'],
        'dataset_identity': dataset.identity,
        'command': previous.get('command', 'python ' + ' '.join(map(shlex.quote, sys.argv))),
        'versions': versions})
    times = {'train_seconds': 0., 'images_per_second': 0.}
    if finding.list_checkpoints(run):
        print(f'resuming at step {step}', flush=True)
        times = {}
    runs.write_status(run, state='running', host=socket.gethostname(), step=step,
                      recipe=overrides.describe_changes(config.recipe), **times)
    return step


def _record_end(run: str, is_done: bool, stop: hooks.StopHook, strategy: Strategy,
                has_test: bool) -> int:
    """Write status.json, print what to do next and return the exit code."""
    step, checkpoint = finding.find_checkpoint(run)
    signals = stop.signals
    if is_done:
        state, reason, code = 'done', stop.reason and f' ({stop.reason})', 0
        best = ('--step', 'best') if runs.read_status(run).get('best_step') is not None else ()
        script = 'eval.py' if has_test else 'freeze_graph.py'
        command = commands.next_command(script, '--run', run, *best)
    else:
        state, reason, code = 'stopped', signals.name and f' by {signals.name}', signals.code or 1
        command = commands.next_command(
            strategy.script, *strategy.resume_arguments, '--run', run, '--resume')
    runs.write_status(run, state=state)
    print(f'{state} at step {step}{reason}: {printable(checkpoint)}\nnext: {command}', flush=True)
    return code
