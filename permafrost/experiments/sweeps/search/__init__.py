"""A search: Optuna chooses the settings of the next run; processes and machines may share it."""
