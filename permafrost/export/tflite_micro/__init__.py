"""TensorFlow Lite Micro: an int8 model as C source, with the preprocessing that comes before it."""
