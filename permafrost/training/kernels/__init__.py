"""Faster gradients of convolutions in bfloat16 on a CPU: other kernels, and another order."""
