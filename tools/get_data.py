"""Makes CIFAR-10 whole in its directory: `make data`."""

import os
import sys

from absl import flags

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..'))

from permafrost import cli, download

flags.DEFINE_string('data_dir', None, 'Where the six .bin files go; default: '
                    '$PERMAFROST_DATA/cifar10, or ~/.cache/permafrost/data/cifar10.',
                    module_name=sys.argv[0])


def main():
    print('data: CIFAR-10 is whole in ' + download.prepare(flags.FLAGS.data_dir))


if __name__ == '__main__':
    cli.run(main)
