"""The runs of a study: which there are, how they are run, and what a search chooses next."""
