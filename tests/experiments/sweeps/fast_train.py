"""train.py without TensorFlow, for tests of sweeps: a step takes 10 ms and learns by formula.

The flags, the run directory, its lock, results.csv, resuming and signals are the real ones.
"""

import os
import sys
import time

sys.path.insert(0, os.path.abspath(__file__).rsplit(os.sep, 4)[0])

from absl import flags

from permafrost import runs
from permafrost.entry_point import run_script
from permafrost.errors import UserError
from permafrost.evaluation import history
from permafrost.flags import define_train_flags
from permafrost.training import setup
from permafrost.training.signals import Signals

EPOCH = 10  # steps
define_train_flags()


def accuracy(config, epoch):
    """Return the accuracy after some epochs; 0.1 is the best learning rate."""
    rate = config.recipe.learning_rate
    return (1 - abs(rate - 0.1)) * epoch / (epoch + 1) + config.seed / 1000


def main():
    train_setup = setup.prepare_training(flags.FLAGS)
    config = train_setup.config
    with Signals() as signals:
        run = train_setup.open_run()
        with runs.lock(run):
            step = runs.read_status(run).get('step', 0)
            print(f'resuming at step {step}', flush=True)
            runs.write_config(run, config, {'classes': list(train_setup.dataset.classes)})
            while step < config.steps and not signals.code:
                time.sleep(.01)
                step += 1
                if config.recipe.learning_rate > 1 and step > 3:
                    raise UserError('loss became NaN: use a lower learning rate')
                if step % EPOCH == 0:
                    rows = [row for row in history.read(run) if row.step < step]
                    history.write(run, [*rows, history.EpochRow(
                        step / EPOCH, step, 1., 0., 'validation', 1.,
                        accuracy(config, step / EPOCH), 0.1, 100., step / 100)])
                    print(f'step {step}/{config.steps}', flush=True)
                runs.write_status(run, state='running', step=step, images_per_second=3200.)
            runs.write_status(run, state='done' if step >= config.steps else 'stopped')
            return signals.code


if __name__ == '__main__':
    run_script(main)
