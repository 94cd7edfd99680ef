"""Speed measurements: flags -> a table and a json file under results/. Not needed to train."""
