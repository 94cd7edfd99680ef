"""Training smaller networks: pruning and distillation. For 8 bits see models.layers.fake_quant."""
