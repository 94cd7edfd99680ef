"""Experiments: many runs are made and compared; result files, tables, charts and pages go out."""
