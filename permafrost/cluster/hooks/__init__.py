"""Hooks of a worker of a cluster: the batches that it feeds, how it ends."""
