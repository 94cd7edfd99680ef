"""Files and folders that hold a graph, and what is written next to them."""
