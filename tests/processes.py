"""For tests of signals and command lines: scripts in processes of their own, and their losses."""

import glob
import os
import re
import signal
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def command(script, *arguments):
    """Return the command line that runs a script of this repository."""
    return [sys.executable, os.path.join(ROOT, script)] + [str(a) for a in arguments]


def train_command(dataset, run, *arguments):
    """Return the command line of a small training of squeeze1 in the directory `run`."""
    # This recipe's steps take less time than those of the model's own.
    return command('train.py', '--model=squeeze1', '--recipe=tutorial', '--dataset=synthetic',
                   f'--data_dir={dataset.directory}', f'--run={run}', '--set=batch_size=16',
                   '--log_steps=1', '--summary_steps=1', '--eval_epochs=0', *arguments)


def finish(arguments, code=0, timeout=300):
    """Run a command line to its end and return its output; it must exit with `code`."""
    process = subprocess.run(arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, universal_newlines=True, timeout=timeout)
    assert process.returncode == code, process.stdout
    assert code == 0 or 'Traceback' not in process.stdout, process.stdout
    return process.stdout


def interrupt(arguments, pattern, number=signal.SIGTERM):
    """Start a command line and send signal `number` when a line of its output matches `pattern`.

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
        rest = process.stdout.read()  # communicate would lose the lines that are buffered
        process.wait(120)
    finally:
        process.kill()
    return process.returncode, ''.join(lines) + rest


def losses(run):
    """Return {step: loss} of the event files of `run`, as TensorBoard shows them.

    A START in the session log drops the points from its step on: a killed process wrote them after
    the checkpoint from which the run was resumed.
    """
    from tensorflow.compat.v1 import SessionLog  # not for tests without TensorFlow
    curve = {}
    for event in events(run):
        if event.session_log.status == SessionLog.START:
            curve = {step: loss for step, loss in curve.items() if step < event.step}
        for value in event.summary.value:
            if value.tag == 'loss/total':
                assert event.step not in curve, f'step {event.step} was written twice'
                curve[event.step] = value.simple_value
    return curve


def events(run):
    """Yield the events of a run, up to one that a killed process was still writing."""
    import tensorflow.compat.v1 as tf
    for path in sorted(glob.glob(os.path.join(str(run), 'train', 'events*'))):
        try:
            yield from tf.train.summary_iterator(path)
        except tf.errors.DataLossError:
            pass
