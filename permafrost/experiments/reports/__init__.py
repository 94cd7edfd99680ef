"""Reports: runs, comparisons and results come in; charts and self-contained HTML pages go out."""
