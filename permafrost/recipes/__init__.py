"""How a model is trained: a recipe's name and changes in, a checked Recipe out."""
