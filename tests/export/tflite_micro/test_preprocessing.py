"""The preprocessing that is found in frozen graphs, against those graphs."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from permafrost.errors import UserError
from permafrost.export.tflite_micro import preprocessing
from tests.export.helpers import STATISTICS, logits_of, untrained

IMAGES = np.random.RandomState(1).randint(0, 256, (4, 32, 32, 3)).astype(np.uint8)
IMAGES[1] = IMAGES[1] // 4 + 90
IMAGES[2] = 7  # flat: its deviation is 0


@pytest.mark.parametrize('normalize, size', [
    ('per_channel', 32), ('per_channel', 24), ('per_image', 24), ('per_image', 27)])
def test_it_computes_the_inputs_of_the_graph(normalize, size):
    graph, _ = untrained('lenet5', IMAGES, 'lenet5', [
        f'normalize={normalize}', f'image_size={size}'])
    found = preprocessing.find(graph, IMAGES)
    assert found.name == normalize
    np.testing.assert_allclose(found.apply(IMAGES), logits_of(graph, IMAGES, 'inputs'), atol=1e-4)
    crop = found.to_json()['crop']
    assert (crop['top'], crop['height']) == ((32 - size) // 2, size)
    if normalize == 'per_channel':
        np.testing.assert_allclose(found.to_json()['mean'] + found.to_json()['deviation'],
                                   STATISTICS['per_channel'], atol=1e-3)


@pytest.mark.parametrize('normalize', ['per_pixel', 'yuv_local'])
def test_another_preprocessing_is_refused(normalize):
    graph, _ = untrained('lenet5', IMAGES, 'lenet5', [f'normalize={normalize}'])
    with pytest.raises(UserError, match='^net.pb: its preprocessing is neither per_channel nor'):
        preprocessing.find(graph, IMAGES, 'net.pb')


def test_it_runs_with_the_config_of_all_sessions(monkeypatch):
    graph, _ = untrained('lenet5', IMAGES, 'lenet5', ['normalize=per_image'])
    config, configs, make_session = tf.ConfigProto(), [], tf.Session
    monkeypatch.setattr(tf, 'Session', lambda config=None: configs.append(config) or make_session(
        config=config))
    preprocessing.find(graph, IMAGES, 'net.pb', config)
    assert configs == [config]


def test_numbers_stand_for_values():
    found = preprocessing.PerImage((4, 4, 3), (4, 4, 3))
    values = np.array([-100., -1.26, -1.24, 0., 0.24, 100.])
    np.testing.assert_array_equal(found.quantize(values, 0.5, 3), [-128, 0, 1, 3, 3, 127])
