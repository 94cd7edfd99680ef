"""The shared flags."""

import pytest
from absl import flags as absl_flags

from permafrost import flags
from permafrost.errors import UsageError


@pytest.fixture
def values():
    def parse(*arguments):
        parsed = absl_flags.FlagValues()
        for name in ('run', 'graph', 'weights', 'results'):
            absl_flags.DEFINE_string(name, None, 'Help.', flag_values=parsed)
        absl_flags.DEFINE_integer('image_size', None, 'Help.', flag_values=parsed)
        absl_flags.DEFINE_integer('step', None, 'Help.', flag_values=parsed)
        parsed(['script'] + list(arguments))
        return parsed
    return parse


def test_a_frozen_graph_replaces_a_run(values):
    assert flags.uses_frozen_graph(values('--graph=a.pb', '--image_size=24'))
    assert not flags.uses_frozen_graph(values('--run=runs/tuto/1', '--step=3'))
    for arguments in (['--graph=a.pb', '--run=b'], ['--graph=a.pb', '--step=3'],
                      ['--graph=a.pb', '--weights=raw'], ['--image_size=24']):
        with pytest.raises(UsageError):
            flags.uses_frozen_graph(values(*arguments))
