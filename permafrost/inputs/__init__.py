"""A dataset and a recipe in, the batches that the network sees out."""
