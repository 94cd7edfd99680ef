"""Experiments: metrics of finished runs and benchmarks come in, result files and tables go out."""
