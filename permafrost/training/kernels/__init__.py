"""Faster operations for training in bfloat16 on a CPU."""
