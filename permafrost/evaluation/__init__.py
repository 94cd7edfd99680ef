"""Evaluation: a checkpoint or a frozen graph and a dataset come in, metrics go out."""
