"""Training on parameter servers: flags or TF_CONFIG in; the same checkpoints as one process out."""
