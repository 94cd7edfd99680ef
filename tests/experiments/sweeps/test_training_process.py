"""A training in a process: its log, its end, its parent's end, and who may run it."""

import os
import signal
import subprocess
import sys
import time

import pytest

from permafrost import runs
from permafrost.cli.ending_signals import REQUEST_TO_END
from permafrost.experiments.sweeps import training_process
from permafrost.experiments.sweeps.training_process import TrainingProcess, claim
from tests.experiments.sweeps import helpers
from tests.processes import ROOT


@pytest.fixture
def run(synthetic, tmp_path):
    planned, = helpers.planned_runs(tmp_path, *helpers.data_flags(synthetic))
    return planned


def wait(process):
    while process.code() is None:
        time.sleep(.05)
    return process.code()


def test_a_training_is_started_stopped_and_continued(run):
    long = run._replace(arguments=run.arguments + ('--steps=100000',))
    with helpers.fast_trainings():
        process = TrainingProcess(long)
        while process.step() < 10:
            assert process.code() is None
            time.sleep(.05)
        process.stop()
        os.kill(process._process.pid, REQUEST_TO_END)  # as when the sweep ends meanwhile
        # A second one, while Python ends, has its default action.
        assert wait(process) in (138, -REQUEST_TO_END)
        step = run.step()
        assert step >= 10 and runs.read_status(run.directory)['state'] == 'stopped'
        process = TrainingProcess(long, ['--log_steps=7'])
        while process.step() < step + 10:
            time.sleep(.05)
        process.stop()
        assert wait(process) == 138
    with open(os.path.join(run.directory, 'train.log')) as stream:
        assert f'resuming at step {step}\n' in stream.read()


def test_the_reason_of_a_failure_is_the_error_in_the_log(run):
    wrong = run._replace(arguments=run.arguments + ('--set=learning_rate=2',))
    with helpers.fast_trainings():
        assert wait(TrainingProcess(wrong)) == 1
    reason = training_process.reason_of_failure(run, 1)
    assert reason == ('loss became NaN: use a lower learning rate '
                      f'({os.path.join(run.directory, "train.log")})')
    with open(os.path.join(run.directory, 'train.log'), 'w') as stream:
        stream.write('Killed\n')
    assert training_process.reason_of_failure(run, 9).startswith('exit code 9 (')
    with open(os.path.join(run.directory, 'train.log'), 'w') as stream:
        stream.write('error: of an earlier try\n' + training_process.START +
                     'tensorflow.python.errors_impl.ResourceExhaustedError: out of memory\n')
    assert training_process.reason_of_failure(run, 1).startswith('tensorflow.python.errors_impl.'
                                                                 'ResourceExhaustedError: out of')
    with open(os.path.join(run.directory, 'train.log'), 'a') as stream:
        stream.write(training_process.START)
    assert training_process.reason_of_failure(run, 1).startswith('exit code 1 (')


def test_a_killed_training_has_no_error_of_an_earlier_try(run):
    os.makedirs(run.directory)
    with open(os.path.join(run.directory, 'train.log'), 'w') as stream:
        stream.write('error: No space left on device\n')
    assert training_process.reason_of_failure(run, -9).startswith('killed by signal 9 (')


def test_a_run_is_of_one_sweep_at_a_time(run):
    first = claim(run.directory)
    assert first and claim(run.directory) is None
    first.close()
    with runs.lock(run.directory):  # a training that a killed sweep has left behind
        assert claim(run.directory) is None
    second = claim(run.directory)
    assert second
    second.close()


@pytest.mark.skipif(sys.platform != 'linux', reason='only Linux tells a child')
def test_a_training_does_not_outlive_its_sweep(run):
    script = f'''
import sys, time
sys.path.insert(0, {ROOT!r})
from permafrost.experiments.sweeps import plan, training_process
training_process.TRAIN = {helpers.FAST_TRAIN!r}
run = plan.PlannedRun('v', 1, {run.directory!r}, {run.arguments + ('--steps=100000',)!r}, None, '')
process = training_process.TrainingProcess(run)
while process.step() < 10:
    assert process.code() is None
    time.sleep(.05)
print('ready', flush=True)
time.sleep(100)
'''
    with subprocess.Popen([sys.executable, '-c', script], stdout=subprocess.PIPE) as sweep:
        assert sweep.stdout.readline() == b'ready\n'
        sweep.send_signal(signal.SIGKILL)
    while runs.is_running(run.directory):
        time.sleep(.05)
    assert runs.read_status(run.directory)['state'] == 'stopped'
