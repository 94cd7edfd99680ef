"""Training: a Config and a dataset go in; checkpoints in a run directory come out."""
