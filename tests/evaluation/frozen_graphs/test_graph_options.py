"""Every flag of a graph states something."""

import pytest

from permafrost import flags
from permafrost.errors import UsageError
from permafrost.evaluation.frozen_graphs.graph_options import GraphOptions, ask_for


def test_the_flags_of_a_graph_are_the_fields():
    assert set(flags.GRAPH_FLAGS) == set(GraphOptions._fields)


def test_all_that_is_missing_is_asked_for_in_one_line():
    ask_for('a.pb', 'x', [])
    with pytest.raises(UsageError, match='^a.pb does not specify everything: add --a --b N$'):
        ask_for('a.pb', '', ['--a', '--b N'])
    with pytest.raises(UsageError, match="^a.pb is fed at 'x' and does not specify everything"):
        ask_for('a.pb', 'x', ['--a'])
