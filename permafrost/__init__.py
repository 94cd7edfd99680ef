"""Permafrost: train, evaluate and freeze small convnets with TensorFlow 1 sessions."""
