"""For tests of sweeps: their flags, and studies whose trainings take no TensorFlow."""

import contextlib
import copy
import os
import runpy
import signal
import subprocess
import sys
import time
from unittest import mock

from absl import flags
from absl.testing import flagsaver

from permafrost.experiments.sweeps import plan, study, sweep, training_process, variants
from tests.processes import ROOT

FAST_TRAIN = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'fast_train.py')


@contextlib.contextmanager
def sweep_flags(*arguments):
    """Context of the flags (absl FlagValues) of sweep.py with `arguments`."""
    path = os.path.join(ROOT, 'sweep.py')
    with flagsaver.flagsaver(), mock.patch.object(sys, 'path', list(sys.path)), \
            contextlib.ExitStack() as stack:
        stack.callback(signal.signal, signal.SIGINT, signal.getsignal(signal.SIGINT))
        runpy.run_path(path, run_name='script')  # defines the flags, but does not run main
        assert flags.FLAGS([path, *map(str, arguments)])[1:] == []
        yield copy.deepcopy(flags.FLAGS)


def data_flags(dataset, *more):
    """Return the flags of a small training on `dataset`."""
    return ['--dataset=synthetic', f'--data_dir={dataset.directory}', '--model=lenet5',
            '--batch_size=32', '--steps=20', '--validation=100', *more]


def planned_runs(folder, *arguments):
    """Return the runs of the study that `arguments` describe."""
    with sweep_flags(*arguments) as values:
        the_study = study.from_flags(values, str(folder))
        return plan.plan(the_study, variants.variants_of(the_study), str(folder), values)


@contextlib.contextmanager
def fast_trainings():
    """Context in which sweeps train with fast_train.py."""
    with mock.patch.object(training_process, 'TRAIN', FAST_TRAIN):
        yield


def run_fast(folder, *arguments):
    """Run a sweep in this process, with fast trainings; return its exit code."""
    with fast_trainings(), sweep_flags(*arguments) as values:
        return sweep.run(values, str(folder))


def kill_with_children(arguments, is_time):
    """Start a process; kill it and its children at once when `is_time()` is true."""
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL)
    while not is_time():
        assert process.poll() is None
        time.sleep(.05)
    with open(f'/proc/{process.pid}/task/{process.pid}/children') as stream:
        children = [int(pid) for pid in stream.read().split()]
    assert children
    for pid in (*children, process.pid):
        os.kill(pid, signal.SIGKILL)
    process.wait()
