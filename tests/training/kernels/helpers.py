"""For tests of the compiled kernels."""

import pytest

from permafrost.training.kernels import library

compiled = pytest.mark.skipif(library.load() is None,
                              reason='needs tf2, AVX512_BF16 without AMX, and a C++ compiler')
