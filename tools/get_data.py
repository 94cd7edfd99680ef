"""Makes CIFAR-10 whole in its directory: `make data`; CIFAR-100 with ARGS=--data_set=cifar100."""

import os
import sys

from absl import flags

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..'))

from permafrost.flags import run_script
from permafrost.datasets import download

flags.DEFINE_string('data_set', 'cifar10', 'Data set: cifar10 or cifar100.',
                    module_name=sys.argv[0])
flags.DEFINE_string('data_dir', None, 'Where its .bin files go; default: $PERMAFROST_DATA/<data '
                    'set>, or ~/.cache/permafrost/data/<data set>.', module_name=sys.argv[0])


def main():
    name = flags.FLAGS.dataset
    directory = download.prepare(flags.FLAGS.data_dir, name=name)
    print('data: %s is whole in %s' % (name.replace('cifar', 'CIFAR-'), directory))


if __name__ == '__main__':
    run_script(main)
