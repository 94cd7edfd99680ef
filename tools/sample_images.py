"""Writes images of the test set as PNG files: python tools/sample_images.py --output DIR."""

import os
import struct
import sys
import zlib

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from absl import flags

from permafrost import files
from permafrost.flags import define_data_dir_flag, define_dataset_flag, run_script
from permafrost.datasets import loading

flags.DEFINE_string('output', 'samples', 'Folder to write to.')
flags.DEFINE_integer('count', 2, 'How many images, from the first of the test set on.', 1)
define_dataset_flag()
define_data_dir_flag()
FLAGS = flags.FLAGS


def png(image):
    """The bytes of a PNG file of `image`, uint8 [H, W, 3]."""
    def chunk(kind, content):
        return (struct.pack('>I', len(content)) + kind + content
                + struct.pack('>I', zlib.crc32(kind + content)))
    height, width, _ = image.shape
    rows = b''.join(b'\0' + row.tobytes() for row in image)  # 0: the row is not filtered
    return (b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', struct.pack('>IIBBBBB', width, height, 8, 2,
                                                              0, 0, 0))
            + chunk(b'IDAT', zlib.compress(rows)) + chunk(b'IEND', b''))


def main():
    dataset = loading.open_dataset(FLAGS.dataset, FLAGS.data_dir)
    images, labels = loading.load(dataset, 'test')
    os.makedirs(FLAGS.output, exist_ok=True)
    for number in range(min(FLAGS.count, len(images))):
        path = os.path.join(FLAGS.output, '%d-%s.png' % (number, dataset.classes[labels[number]]))
        files.write_atomically(path, png(images[number]))
        print(path)


if __name__ == '__main__':
    run_script(main)
