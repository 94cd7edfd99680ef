"""Every flag of a graph states something."""

from permafrost import flags
from permafrost.evaluation.frozen_graphs.statement import Statement


def test_the_flags_of_a_graph_are_the_fields():
    assert set(flags.GRAPH_FLAGS) == set(Statement._fields)
