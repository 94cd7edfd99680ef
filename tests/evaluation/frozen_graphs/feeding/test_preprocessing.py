"""Preprocessing of pixels, compared with NumPy."""

import numpy as np
import pytest

from permafrost.errors import UsageError
from permafrost.evaluation.frozen_graphs.feeding.preprocessing import Preprocessing


def test_preprocessing_equals_numpy():
    pixels = np.random.RandomState(0).randint(0, 256, (2, 5, 5, 3)).astype(np.uint8)
    pixels[1] = 7  # a single colour
    np.testing.assert_array_equal(Preprocessing('none').apply(pixels), pixels.astype(np.float32))
    np.testing.assert_allclose(Preprocessing(None, '1,2,3', '4').apply(pixels),
                               (pixels - np.array([1., 2, 3])) / 4, rtol=1e-6)
    standard = Preprocessing('per_image').apply(pixels)
    np.testing.assert_allclose(
        standard[0], (pixels[0] - pixels[0].mean()) / pixels[0].std(), atol=1e-5)
    np.testing.assert_array_equal(standard[1], 0)
    assert str(Preprocessing(None, '128', None)) == '(x - 128) / 1'
    assert str(Preprocessing(None, '1,2,3', '4,4,4')) == '(x - [1, 2, 3]) / 4'
    assert not Preprocessing().is_stated and Preprocessing('none').is_stated


@pytest.mark.parametrize('flags, message', [
    (('all',), 'per_image or none'), (('none', '1'), 'either'), ((None, 'x'), 'must be a number'),
    ((None, '1,2'), 'three'), ((None, '0', '0'), 'above 0'), ((None, 'nan'), 'must be a number')])
def test_wrong_preprocessing_is_a_usage_error(flags, message):
    with pytest.raises(UsageError, match=message):
        Preprocessing(*flags)
