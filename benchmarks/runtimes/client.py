"""The servers that train, each in .venv/<environment>; server.py documents the requests."""

import ctypes.util
from typing import NamedTuple, Optional

from permafrost.errors import UserError
from permafrost.evaluation.runtimes import client

ALLOCATOR = 'libtcmalloc_minimal.so.4'


class Server(NamedTuple):
    """A module that answers requests, where it runs, and how it is to train."""
    module: str
    environment: str
    compute_dtype: str = 'float32'
    compiled: bool = False  # by torch.compile
    without: Optional[str] = None  # what makes steps faster; see ablations.py


TENSORFLOW = 'benchmarks.runtimes.tensorflow_server'
PYTORCH = 'benchmarks.runtimes.pytorch_server'
SERVERS = {
    'tf1': Server(TENSORFLOW, 'tf1'),
    'tf1-mkl': Server(TENSORFLOW, 'tf1-mkl'),
    'tf2': Server(TENSORFLOW, 'tf2'),
    'tf2-bfloat16': Server(TENSORFLOW, 'tf2', 'bfloat16'),
    'pytorch': Server(PYTORCH, 'pytorch'),
    'pytorch-bfloat16': Server(PYTORCH, 'pytorch', 'bfloat16'),
    'pytorch-compiled': Server(PYTORCH, 'pytorch', compiled=True),
    'pytorch-compiled-bfloat16': Server(PYTORCH, 'pytorch', 'bfloat16', compiled=True),
}
WITHOUT = ('C++ gradients of weights', 'C++ gradients of weights and one gradient at a time',
           'C++ sigmoid_gelu', 'compiled sigmoid_gelu', 'skipped outputs',
           'gradients of the first biases')
SERVERS.update((f'without {name}', Server(TENSORFLOW, 'tf2', 'bfloat16', without=name))
               for name in WITHOUT)


def check_allocator() -> None:
    """Raise UserError without tcmalloc, which PyTorch's guide to tuning on CPUs preloads.

    glibc returns the memory of large tensors to the system at each step.
    """
    if not _has_allocator():
        raise UserError(f'PyTorch is slow without {ALLOCATOR}: install it (Debian: apt-get install '
                        'libtcmalloc-minimal4)')


def start(name: str) -> client.Child:
    """Start the server `name`, with tcmalloc if there is one. Use it as a context manager.

    Raises UserError.
    """
    server = SERVERS[name]
    preload = {'LD_PRELOAD': ALLOCATOR} if _has_allocator() else {}
    return client.Child(server.module, server.environment, **preload)


def _has_allocator() -> bool:
    return bool(ctypes.util.find_library('tcmalloc_minimal'))
