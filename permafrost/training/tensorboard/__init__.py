"""The part of a run that TensorBoard shows: curves, settings, pictures."""
