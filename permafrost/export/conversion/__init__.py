"""Conversion: a frozen graph comes in, files of other formats go out, each with its accuracy."""
