"""Parameter servers: their processes, their states, and how tasks are admitted to them."""
