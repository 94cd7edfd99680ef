"""Export: a checkpoint comes in, a frozen graph (and other formats made from it) goes out."""
