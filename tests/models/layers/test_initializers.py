"""Initializers: the mean, deviation and limits of what they draw."""

import numpy as np
import pytest

from models.layers import initializers
from tests.models.helpers import convolved, evaluate, randoms

pytestmark = pytest.mark.usefixtures('default_graph')


# name: (limit in standard deviations, standard deviation for 3x3 from 40 to 60 channels)
SPREADS = {'glorot_normal': (2.28, (2 / 900) ** 0.5), 'he_normal': (6, (2 / 360) ** 0.5),
           'he_normal_fan_out': (6, (2 / 540) ** 0.5),
           'pytorch_default': (1.74, (1 / 3 / 360) ** 0.5),
           'normal:0.05': (6, 0.05), 'uniform:1': (1.74, 1)}


@pytest.mark.parametrize('name', SPREADS)
def test_initializers_have_their_spread(name):
    values, = evaluate(initializers.initialize(name, [3, 3, 40, 60], [1, 2]))
    limit, deviation = SPREADS[name]
    assert values.dtype == np.float32 and abs(values.mean()) < 0.02 * deviation
    assert abs(values.std() / deviation - 1) < 0.02
    assert np.abs(values).max() < limit * deviation


@pytest.mark.parametrize('channels, filters', [(4, 9), (9, 4), (5, 5)])
def test_dirac_passes_channels_on(channels, filters):
    values, = evaluate(initializers.initialize('dirac', [3, 3, channels, filters], [1, 2]))
    x, count = randoms(2, 4, 4, channels), min(channels, filters)
    np.testing.assert_allclose(convolved(x, values)[..., :count], x[..., :count], atol=1e-6)
    drawn = values[..., count:]
    assert not drawn.size or drawn.std() > 0 and np.abs(drawn).max() < (9 * channels) ** -0.5


def test_every_initializer_is_tested():
    assert {name.split(':')[0] for name in SPREADS} | {'dirac'} == set(initializers.INITIALIZERS)
    with pytest.raises(ValueError, match='unknown initializer'):
        initializers.initialize('xavier', [3, 3, 4, 5], [1, 2])
    values, = evaluate(initializers.initialize('he_normal', [3, 3, 400, 1], [1, 2], depthwise=True))
    assert abs(values.std() / (2 / 9) ** 0.5 - 1) < 0.05
