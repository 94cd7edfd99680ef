"""Training with its observers: evaluations, TensorBoard's settings, the run's report."""

from typing import Any

from permafrost.evaluation import evaluation_hook
from permafrost.experiments.reports import run_report
from permafrost.training import loop
from permafrost.training.setup import TrainSetup
from permafrost.training.strategy import SINGLE_PROCESS, Strategy
from permafrost.training.tensorboard import hparams
from permafrost.transfer import teachers, trained_weights


def train(setup: TrainSetup, session_config: Any = None,
          strategy: Strategy = SINGLE_PROCESS) -> int:
    """Train as loop.train does, from the weights of --init_from, distilled from --teacher.

    Evaluate, and update report.html and what TensorBoard shows, while training and at the end.
    """
    evaluate = evaluation_hook.in_training([run_report.observer])

    def hooks(training: loop.Training) -> list:
        hparams.write_start(training.run, training.config)
        return evaluate(training)

    def finish(run: str) -> None:
        hparams.write_end(run)
        run_report.write(run)

    setup = trained_weights.with_trained_weights(setup, session_config)
    return loop.train(teachers.with_teacher(setup, session_config), session_config, strategy,
                      extra_hooks=hooks, at_end=finish)
