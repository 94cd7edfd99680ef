"""The servers that train, each in .venv/<environment>; server.py documents the requests."""

from typing import NamedTuple

from permafrost.evaluation.runtimes import client


class Server(NamedTuple):
    """A module that answers requests, and where it runs."""
    module: str
    environment: str


SERVERS = {
    'tf1': Server('benchmarks.runtimes.tensorflow_server', 'tf1'),
    'tf1-mkl': Server('benchmarks.runtimes.tensorflow_server', 'tf1-mkl'),
    'tf2': Server('benchmarks.runtimes.tensorflow_server', 'tf2'),
    'tf2-bfloat16': Server('benchmarks.runtimes.tensorflow_server', 'tf2'),
    'pytorch': Server('benchmarks.runtimes.pytorch_server', 'pytorch'),
    'pytorch-bfloat16': Server('benchmarks.runtimes.pytorch_server', 'pytorch'),
}


def start(name: str) -> client.Child:
    """Start the server `name`. Use it as a context manager. Raises UserError."""
    return client.Child(*SERVERS[name])
