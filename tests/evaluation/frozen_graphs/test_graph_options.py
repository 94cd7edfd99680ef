"""Every flag of a graph states something."""

import pytest

from permafrost import flags
from permafrost.errors import UsageError
from permafrost.evaluation.frozen_graphs.graph_options import GraphOptions, raise_if_missing


def test_the_flags_of_a_graph_are_the_fields():
    assert set(flags.GRAPH_FLAGS) == set(GraphOptions._fields)


def test_all_that_is_missing_is_asked_for_in_one_line():
    raise_if_missing('a.pb', 'x', [])
    with pytest.raises(UsageError, match='^a.pb leaves some settings open: add --a --b N$'):
        raise_if_missing('a.pb', '', ['--a', '--b N'])
    with pytest.raises(UsageError, match=r"^a.pb \(input 'x'\) leaves some settings open"):
        raise_if_missing('a.pb', 'x', ['--a'])
