"""For tests of the compiled kernel."""

import pytest

from permafrost.training.kernels import weight_gradient

compiled = pytest.mark.skipif(weight_gradient.library() is None,
                              reason='needs tf2, AVX512_BF16 without AMX, and a C++ compiler')
