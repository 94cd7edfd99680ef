"""The frozen graph to convert: its images, its classes and the datasets that it refuses."""

import numpy as np
import pytest

from permafrost.datasets import loading
from permafrost.errors import UserError
from permafrost.evaluation.frozen_graphs import graph_def
from permafrost.export.conversion import source_graph


def test_calibration_images_are_training_images_of_all_parts(file, synthetic, monkeypatch):
    monkeypatch.setattr(source_graph, 'CALIBRATION_IMAGES', 100)
    source = source_graph.read(file, synthetic, None)
    train, _ = loading.load(synthetic, 'train')
    np.testing.assert_array_equal(source.calibration, train[np.arange(100) * 640 // 100])


def test_images_of_another_size_are_refused(file, synthetic):
    data = synthetic._replace(image_shape=(40, 40, 3))
    with pytest.raises(UserError, match='^.*pb expects images of 32x32, but those of synthetic '
                                        'are 40x40: name its dataset'):
        source_graph.read(file, data, None)


def test_a_graph_without_class_names_needs_as_many_classes_as_the_dataset(
        file, synthetic, tmp_path):
    graph = graph_def.read_graph(file)
    graph.node.remove(next(node for node in graph.node if node.name == 'labels'))
    path = str(tmp_path / 'net.pb')
    (tmp_path / 'net.pb').write_bytes(graph.SerializeToString())
    source = source_graph.read(path, synthetic, None)
    assert source.facts['output']['shape'] == [-1, 10] and source.facts['classes'] == []
    data = synthetic._replace(classes=synthetic.classes[:4])
    with pytest.raises(UserError, match='net.pb returns 10 classes, but synthetic has 4: name'):
        source_graph.read(path, data, None)


def test_another_dataset_is_refused(file, synthetic):
    data = synthetic._replace(classes=tuple(reversed(synthetic.classes)))
    with pytest.raises(UserError, match='name the dataset that it was trained on with --dataset'):
        source_graph.read(file, data, None)
