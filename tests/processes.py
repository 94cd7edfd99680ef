"""What tests of real processes share: trainings on the synthetic data, and their losses."""

import glob
import os
import re
import signal
import subprocess
import sys

import tensorflow.compat.v1 as tf

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def command(script, *arguments):
    return [sys.executable, os.path.join(ROOT, script)] + [str(a) for a in arguments]


def training(dataset, run, *arguments):
    """The command line of a small training of squeeze1 in the directory `run`."""
    return command('train.py', '--model=squeeze1', '--data_set=synthetic',
                   '--data_dir=' + dataset.directory, '--run=%s' % run, '--set=batch_size=16',
                   '--log_steps=1', '--summary_steps=1', *arguments)


def finish(arguments, code=0, timeout=300):
    """Runs a command line to its end and returns its output; it must exit with `code`."""
    done = subprocess.run(arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, universal_newlines=True, timeout=timeout)
    assert done.returncode == code, done.stdout
    assert code == 0 or 'Traceback' not in done.stdout, done.stdout
    return done.stdout


def interrupt(arguments, pattern, number=signal.SIGTERM):
    """Starts a command line, sends signal `number` when a line of its output matches `pattern`.

    Returns its exit code and its whole output.
    """
    process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, universal_newlines=True)
    lines = []
    try:
        for line in process.stdout:
            lines.append(line)
            if re.search(pattern, line):
                process.send_signal(number)
                break
        rest, _ = process.communicate(timeout=120)
    finally:
        process.kill()
    return process.returncode, ''.join(lines) + rest


def losses(run):
    """{step: loss} in the event files of `run`, as TensorBoard shows them.

    A START in the log of sessions drops the points from its step on, which a killed process
    had written after the checkpoint that was resumed from.
    """
    found = {}
    for path in sorted(glob.glob(os.path.join(str(run), 'train', 'events*'))):
        for event in _events(path):
            if event.session_log.status == tf.SessionLog.START:
                found = {step: loss for step, loss in found.items() if step < event.step}
            for value in event.summary.value:
                if value.tag == 'loss':
                    assert event.step not in found, 'step %d was written twice' % event.step
                    found[event.step] = value.simple_value
    return found


def _events(path):
    """The events in a file, to its end or to the one that a killed process was writing."""
    try:
        yield from tf.train.summary_iterator(path)
    except tf.errors.DataLossError:
        pass
