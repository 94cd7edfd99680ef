"""Transfer: what a training takes from an earlier one, its weights (--init_from) or its answers."""
