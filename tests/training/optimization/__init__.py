"""Tests of permafrost.training.optimization."""
