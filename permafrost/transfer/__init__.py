"""Transfer from earlier trainings: their weights (--init_from) or their predictions (--teacher)."""
