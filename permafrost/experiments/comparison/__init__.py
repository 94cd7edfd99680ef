"""Comparison: runs, studies and results come in, a table of variants side by side goes out."""
