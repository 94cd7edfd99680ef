"""A server that trains: permafrost.evaluation.runtimes.server has the protocol. Needs only NumPy.

It answers

{"load": model, "batch_size": N, "image_size": h, "compute_dtype": "float32" or "bfloat16",
    "compiled": true or false, "without": name or null}: load a model, to be trained on one batch of
    random floats, and drop the previous one. Answer: facts. Only PyTorch compiles, and only
    TensorFlow trains without what makes it faster.
{"run": kind}: run once on that batch. Answer: {"loss": number}. The kinds are
    forward: the loss in training mode, with all that the gradients would need;
    backward: that, and the gradients of all trained weights, which are dropped;
    step: that, and the update of the weights, the optimizer's state and moving averages;
    product: only the product of two SIDE x SIDE matrices of compute_dtype; the loss is null.
{"logits": model, "path": file.npz}: write the logits of fixed weights, or compare with them.
"""

import contextlib
import gc

import numpy as np

from permafrost.evaluation.runtimes.server import answer_lines

SIDE = 2048  # of the matrices


def serve_training(version, load, logits):
    """Answer requests until stdin ends.

    `load(request)` is a context manager that yields the answer and {kind: function that runs it
    and returns the loss}; `logits(request)` returns the answer.
    """
    runs = {}
    with contextlib.ExitStack() as stack:
        def answer(request):
            if 'run' in request:
                return {'loss': runs[request['run']]()}
            runs.clear()
            stack.close()
            gc.collect()
            if 'logits' in request:
                return logits(request)
            facts, new_runs = stack.enter_context(load(request))
            runs.update(new_runs)
            return facts

        answer_lines(version, answer)


def batch(request):
    """Return images, float32 [N, h, h, 3], and labels, int64 [N], for a request to load."""
    random, size = np.random.RandomState(1), request['image_size']
    shape = request['batch_size'], size, size, 3
    return random.standard_normal(shape).astype(np.float32), random.randint(0, 10, shape[:1])


def matrices():
    """Return the two matrices of the product, float32 [SIDE, SIDE]."""
    return np.random.RandomState(1).uniform(-1, 1, (2, SIDE, SIDE)).astype(np.float32)
