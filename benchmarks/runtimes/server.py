"""The server side: a line of json per request on stdin, one per answer on stdout. Needs only NumPy.

A server of inference answers:

{"load": name, "path": file, "shape": [N, h, w, 3], "threads": T}: load a model, to be timed on
    random floats of that shape. Answer: {}.
{"time": name, "warmup": W, "runs": R}: time R runs after W others. Answer: {"median": ms}.
{"predict": file, "images": file.npy, "output": file.npy, "batch_size": N}: write the class with
    the highest output for each uint8 image. Answer: {}.

A server of training answers:

{"load": model, "batch_size": N, "image_size": h, "compute_dtype": "float32" or "bfloat16"}: load a
    model, to be trained on one batch of random floats, and drop the previous one. Answer: facts.
{"run": kind}: run once on that batch. Answer: {"loss": number}. The kinds are
    forward: the loss in training mode, with all that the gradients would need;
    backward: that, and the gradients of all trained weights, which are dropped;
    step: that, and the update of the weights, the optimizer's state and moving averages;
    product: only the product of two SIDE x SIDE matrices of floats; the loss is null.
{"logits": model, "path": file.npz}: write the logits of fixed weights, or compare with them.
"""

import contextlib
import gc
import json
import os
import sys
import time

import numpy as np

SIDE = 2048  # of the matrices


def serve_inference(version, load):
    """Answer requests until stdin ends.

    `load(path, threads)` returns `bind(array)`, which returns `(run, output)`: `run()` computes
    the outputs of that batch, `output()` returns the last ones, an array [N, classes].
    """
    loaded = {}

    def answer(request):
        if 'load' in request:
            array = np.random.RandomState(1).standard_normal(request['shape'])
            bind = load(request['path'], request['threads'])
            loaded[request['load']] = bind(array.astype(np.float32))[0]
            return {}
        if 'time' in request:
            return _time(loaded[request['time']], request['warmup'], request['runs'])
        images, size = np.load(request['images']), request['batch_size']
        bind, classes = load(request['predict'], 1), []
        for start in range(0, len(images), size):
            run, output = bind(images[start:start + size])
            run()
            classes.append(np.argmax(output(), 1))
        np.save(request['output'], np.concatenate(classes))
        return {}

    _answer_lines(version, answer)


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

        _answer_lines(version, answer)


def batch(request):
    """Return images, float32 [N, h, h, 3], and labels, int64 [N], for a request to load."""
    random, size = np.random.RandomState(1), request['image_size']
    shape = request['batch_size'], size, size, 3
    return random.standard_normal(shape).astype(np.float32), random.randint(0, 10, shape[:1])


def matrices():
    """Return the two matrices of the product, float32 [SIDE, SIDE]."""
    return np.random.RandomState(1).uniform(-1, 1, (2, SIDE, SIDE)).astype(np.float32)


def _answer_lines(version, answer):
    answers = os.fdopen(os.dup(1), 'w')
    os.dup2(2, 1)  # libraries print to stderr from now on: stdout is for answers

    def write(value):
        answers.write(json.dumps(value) + '\n')
        answers.flush()

    write({'version': version})
    for line in sys.stdin:
        try:
            write(answer(json.loads(line)))
        except Exception as error:  # the client shows it
            write({'error': ' '.join(str(error).split())[:300] or type(error).__name__})


def _time(run, warmup, runs):
    times = []
    for _ in range(warmup + runs):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return {'median': 1e3 * float(np.median(times[warmup:]))}
