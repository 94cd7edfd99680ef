"""Training smaller networks: pruning, quantization-aware training, distillation."""
