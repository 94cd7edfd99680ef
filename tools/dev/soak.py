"""Kills a training cluster's tasks at random and starts them again: tools/soak.py --minutes 30.

Every 20 to 60 seconds a worker, the chief or a server gets SIGKILL, and is started again after 0
to 5 seconds. When the minutes are over the run has --grace_steps steps left to make. Fails when
the global step went back below a checkpoint, when a task hangs, or when the run does not end well.
"""

import os
import random
import signal
import sys
import tempfile
import time

from absl import flags

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..'))

from permafrost.flags import run_script
from permafrost.cluster import local_cluster
from permafrost.datasets.synthetic import make_synthetic
from permafrost.errors import UserError
from permafrost.training import checkpoints

SCRIPT = {'module_name': sys.argv[0]}
flags.DEFINE_float('minutes', 30., 'How long tasks are killed.', 0., **SCRIPT)
flags.DEFINE_float('least', 20., 'Seconds between two kills, at least.', 0.1, **SCRIPT)
flags.DEFINE_float('most', 60., 'Seconds between two kills, at most.', 0.1, **SCRIPT)
flags.DEFINE_integer('ps', 1, 'Parameter servers.', 1, **SCRIPT)
flags.DEFINE_integer('workers', 2, 'Workers.', 1, **SCRIPT)
flags.DEFINE_string('mode', 'async', 'async or sync.', **SCRIPT)
flags.DEFINE_integer('seed', 1, 'Of who is killed when.', **SCRIPT)
flags.DEFINE_integer('grace_steps', 200, 'Steps after the last kill.', 1, **SCRIPT)
FLAGS = flags.FLAGS
HANG_SECS = 180.  # without a step of any worker


class Soak:
    """The cluster and what is known of its progress."""

    def __init__(self, folder):
        self.run = os.path.join(folder, 'run')
        synthetic = make_synthetic(os.path.join(folder, 'data'))
        self.cluster = local_cluster.LocalCluster(FLAGS.ps, FLAGS.workers, [
            '--model=squeeze1', '--data_set=synthetic', '--data_dir=' + synthetic.directory,
            '--set=batch_size=16', '--set=learning_rate=0.001',  # it must not diverge at any length
            '--run=' + self.run, '--resume', '--save_secs=5',
            '--log_steps=1', '--wait_secs=300', '--mode=' + FLAGS.mode])
        self.random = random.Random(FLAGS.seed)
        self.kills = 0
        self._read = dict.fromkeys(self.cluster.names, 0)
        self._moved = time.time()
        self.step = self.back = self._saved = 0

    def start(self, *names, steps=10 ** 9):
        self.cluster.start(*names, more=['--steps=%d' % steps])

    def watch(self, seconds):
        """Lets the cluster train for `seconds`, and checks what it says."""
        until = time.time() + seconds
        while time.time() < until:
            self.look()
            time.sleep(.2)

    def look(self):
        """Reads what was said since. Raises UserError at a lost step, a failure or a hang."""
        # The checkpoint that is there before the lines are read bounds every restored step.
        saved = max(checkpoints.list_checkpoints(self.run), default=0)
        for name in self.cluster.names:
            lines = self.cluster.lines.get(name, [])
            new, self._read[name] = lines[self._read[name]:], len(lines)
            for line in new:
                words = line.split()
                if line.startswith('step '):
                    self.step, self._moved = int(words[1].split('/')[0]), time.time()
                elif line.startswith(('restored step', 'the servers hold step')):
                    held = int(words[2] if words[0] == 'restored' else words[4])
                    self.back = max(self.back, self.step - held)
                    print('%s: %s (step %d was seen)' % (name, line, self.step), flush=True)
                    if held < self._saved:
                        raise UserError('%s went back to step %d, before the checkpoint of '
                                               'step %d' % (name, held, self._saved))
                elif line.startswith('error:') or 'Traceback' in line:
                    raise UserError('%s: %s' % (name, '\n'.join(new)))
        self._saved = saved
        if time.time() - self._moved > HANG_SECS:
            raise UserError('no step for %d s' % HANG_SECS)

    def kill(self):
        """Kills one task and starts it again."""
        name = self.random.choice(self.cluster.names)
        print('step %d, checkpoint %d: SIGKILL to %s' % (
            self.step, max(checkpoints.list_checkpoints(self.run), default=0), name), flush=True)
        self.cluster.send(signal.SIGKILL, name)
        self.cluster.wait(name)
        self.kills += 1
        self.watch(self.random.uniform(0., 5.))
        self.start(name)

    def finish(self):
        """Starts all again with a last step; they must end by themselves."""
        codes = self.cluster.stop()
        if any(code != 128 + signal.SIGTERM for code in codes.values()):
            raise UserError('SIGTERM ended tasks with %s' % codes)
        last = max(checkpoints.list_checkpoints(self.run)) + FLAGS.grace_steps
        self.start(steps=last)
        limit = time.time() + 10 * HANG_SECS
        while any(task.poll() is None for task in self.cluster.tasks.values()):
            if time.time() > limit:
                raise UserError('a task hangs')
            self.watch(1.)
        codes, end = self.cluster.wait(), max(checkpoints.list_checkpoints(self.run))
        if any(codes.values()) or end < last:
            raise UserError('ended with %s at step %d of %d' % (codes, end, last))
        return end


def main():
    with tempfile.TemporaryDirectory() as folder:
        soak = Soak(folder)
        with soak.cluster:
            soak.start()
            until = time.time() + 60 * FLAGS.minutes
            while time.time() < until:
                soak.watch(soak.random.uniform(FLAGS.least, FLAGS.most))
                soak.kill()
            soak.watch(FLAGS.most)
            end = soak.finish()
    print('%d kills; the run reached its last step, %d; at most %d steps were undone, none that '
          'was saved' % (soak.kills, end, soak.back))


if __name__ == '__main__':
    run_script(main)
