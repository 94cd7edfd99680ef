"""Checkpoints: when they are saved, how many are kept, how they are found and restored."""
