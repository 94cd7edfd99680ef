"""Time this machine: python -m benchmarks [NAME] --models tuto.

NAME: pipeline (default), inference, training, cluster, threads or scaling; see docs/speed.md and
docs/scaling.md.
"""

from absl import flags

from benchmarks import runner
from permafrost.flags import define_data_dir_flag, define_dataset_flag, run_script

flags.DEFINE_list('models', None, "Models to time, or all. Default: the benchmark's own.")
flags.DEFINE_integer('rounds', None, 'Number of interleaved measurement rounds. Default: 8 '
                     '(threads: 3; training: 3 to 8, depending on the model).', 1)
flags.DEFINE_float('seconds', None, 'Seconds per measurement (inference and training: per eight '
                   'measurements). Default: 8.', 0.01)
flags.DEFINE_bool('quick', False, 'Measure 2 rounds of 1 second, and record only if --results is '
                  'given.')
flags.DEFINE_string('results', None, 'Directory for the json file. Default: results.')
flags.DEFINE_float('link_gbits', 10., "Scaling: speed of each machine's link in Gbit/s.", 0.001)
flags.DEFINE_list('workers', ['4', '16', '64', '256'], 'Scaling: numbers of workers.')
flags.DEFINE_float('images_per_second', 1000., 'Scaling: speed of a lone worker.', 0.1)
flags.DEFINE_string('check', None, 'Scaling: predict the clusters measured in this '
                    'benchmark-cluster-<engine>.json instead.')
define_dataset_flag()
define_data_dir_flag()
FLAGS = flags.FLAGS


def main(name: str = 'pipeline') -> None:
    runner.run(name, runner.Options(
        models=FLAGS.models, rounds=FLAGS.rounds or (2 if FLAGS.quick else None),
        seconds=FLAGS.seconds or (1. if FLAGS.quick else 8.),
        results=FLAGS.results or (None if FLAGS.quick else 'results'),
        dataset=FLAGS.dataset, data_dir=FLAGS.data_dir, link_gbits=FLAGS.link_gbits,
        workers=FLAGS.workers, images_per_second=FLAGS.images_per_second, check=FLAGS.check))


if __name__ == '__main__':
    run_script(main, max_arguments=1)
