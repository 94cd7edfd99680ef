"""The front of every script: the Python that runs it, its streams, the commands it names."""
