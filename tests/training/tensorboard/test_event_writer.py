"""EventWriter on a disk that fails."""

import re

import tensorflow.compat.v1 as tf

from tests import networks


def test_a_full_disk_of_events_ends_no_training(synthetic, tmp_path, monkeypatch, capfd):
    writer = tf.io.TFRecordWriter
    monkeypatch.setattr(tf.io, 'TFRecordWriter', lambda path: writer('/dev/full'))
    networks.train(synthetic, tmp_path, 3, 'tiny', summary_steps=1, histogram_steps=1)
    output = capfd.readouterr().out
    assert output.count('note: cannot write ') == 1
    assert re.search(rf'^note: cannot write {tmp_path}/train/events\S+ \(No space left '
                     r'on device\): TensorBoard will not show later events$', output, re.M)
    assert 'done at step 3' in output
