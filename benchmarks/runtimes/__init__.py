"""Other frameworks, each a server in an environment of its own: requests -> times and logits."""
