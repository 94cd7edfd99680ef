"""Kill a cluster's tasks at random and start them again: tools/dev/soak.py --minutes 30.

Every --least to --most seconds a task gets SIGKILL and is started again after 0 to 5 seconds. In
the end the run must finish within LAST_STEPS steps. It fails if the global step goes back before a
checkpoint, if a task hangs, or if the run does not end well.
"""

import os
import random
import re
import signal
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from permafrost.cli import interpreter

interpreter.check()

from absl import flags

from permafrost.cluster.local_cluster import LocalCluster
from permafrost.datasets.synthetic import make_synthetic
from permafrost.entry_point import run_script
from permafrost.errors import UserError
from permafrost.training.checkpoints import finding

flags.DEFINE_float('minutes', 30., 'How long to keep killing tasks, in minutes.', 0.)
flags.DEFINE_float('least', 20., 'Shortest time between two kills, in seconds.', 0.1)
flags.DEFINE_float('most', 60., 'Longest time between two kills, in seconds.', 0.1)
flags.DEFINE_enum('mode', 'async', ['async', 'sync'], 'How the workers work together.')
FLAGS = flags.FLAGS
HANG_SECS = 180.  # without a step of any worker
LAST_STEPS = 50
LAST_LINES = 60  # of a task that fails
STEP = re.compile(r'step (\d+)/')
RESTORED = re.compile(r'(?:restored|parameter servers already hold) step (\d+)')


class Soak(LocalCluster):
    """A cluster that trains in `run`, and what its tasks have printed about their steps."""

    def __init__(self, folder: str):
        dataset = make_synthetic(os.path.join(folder, 'data'))
        self.run = os.path.join(folder, 'run')
        super().__init__(1, 2, [
            '--model=lenet5', '--dataset=synthetic', f'--data_dir={dataset.directory}',
            '--set=batch_size=16', '--set=learning_rate=0.001',  # never diverges
            f'--run={self.run}', '--resume', '--save_secs=5', '--log_steps=1', '--wait_secs=300',
            f'--mode={FLAGS.mode}', '--steps=1000000000'])
        self.max_undone = 0  # steps that a lost server cost at most
        self._step = self._saved_step = 0
        self._step_time = time.monotonic()
        self._num_read = dict.fromkeys(self.names, 0)  # lines

    def watch(self, seconds: float) -> None:
        """Read what the tasks print; raise UserError at a lost step, a failure or a hang."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            # Read before the lines: no task may restore an earlier step from now on.
            saved_step = finding.last_step(self.run)
            for name in self.names:
                for line in self.lines.get(name, [])[self._num_read[name]:]:
                    self._num_read[name] += 1
                    self._check(name, line)
            self._saved_step = saved_step
            if time.monotonic() - self._step_time > HANG_SECS:
                raise UserError(f'no step for {HANG_SECS:.0f} s')
            time.sleep(.2)

    def _check(self, name: str, line: str) -> None:
        made, restored = STEP.match(line), RESTORED.match(line)
        if made:
            self._step, self._step_time = int(made.group(1)), time.monotonic()
        elif restored:
            step = int(restored.group(1))
            self.max_undone = max(self.max_undone, self._step - step)
            print(f'{name}: {line} (after step {self._step})', flush=True)
            if step < self._saved_step:
                raise UserError(f'{name} went back to step {step}, before the checkpoint of step '
                                f'{self._saved_step}')
        elif line.startswith('error:') or 'Traceback' in line:
            time.sleep(1.)  # for the rest of a stack trace
            print('\n'.join(self.lines[name][-LAST_LINES:]), flush=True)
            raise UserError(f'{name}: {line}')


def main():
    rng, kills = random.Random(1), 0
    with tempfile.TemporaryDirectory() as folder, Soak(folder) as soak:
        soak.start()
        end = time.monotonic() + 60 * FLAGS.minutes
        while time.monotonic() < end:
            soak.watch(rng.uniform(FLAGS.least, FLAGS.most))
            name = rng.choice(soak.names)
            print(f'{name}: SIGKILL', flush=True)
            soak.send(signal.SIGKILL, name)
            soak.wait(name)
            soak.watch(rng.uniform(0., 5.))
            soak.start(name)
            kills += 1
        soak.watch(FLAGS.most)
        codes = soak.stop()
        if set(codes.values()) != {128 + signal.SIGTERM}:
            for name, code in codes.items():
                print(f'{name} ended with {code}:', *soak.lines[name][-LAST_LINES:], sep='\n')
            raise UserError(f'SIGTERM ended tasks with {codes}')
        last_step = finding.last_step(soak.run) + LAST_STEPS
        soak.start(extra_arguments=[f'--steps={last_step}'])
        while any(task.poll() is None for task in soak.tasks.values()):
            soak.watch(1.)
        codes, step = soak.wait(), finding.last_step(soak.run)
    if any(codes.values()) or step < last_step:
        raise UserError(f'tasks ended with {codes} at step {step} of {last_step}')
    print(f'{kills} kills; the run reached its last step, {step}; at most {soak.max_undone} steps '
          'were undone, none of them saved')


if __name__ == '__main__':
    run_script(main)
