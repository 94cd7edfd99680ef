"""Runtimes: exported files (.tflite, .onnx) run in children that have environments of their own."""
