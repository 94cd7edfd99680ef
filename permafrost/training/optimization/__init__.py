"""Changing the weights: gradients, optimizers, moving averages of the weights."""
