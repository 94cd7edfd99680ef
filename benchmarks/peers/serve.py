"""The side of a peer: reads lines of JSON, answers each with one. Needs NumPy alone.

Of one that runs frozen graphs (`serve`):

{"load": name, "path": file, "shape": [N, h, w, 3], "threads": T}: a model, to be timed on random
    floats of that shape. Answers {}.
{"time": name, "warmup": W, "runs": R}: {"median": ms, "min": ms} of R runs after W.
{"predict": file, "images": file.npy, "output": file.npy, "batch_size": N}: writes the class with
    the highest output for each uint8 image. Answers {}.

Of one that trains (`serve_runs`):

{"load": model, "batch_size": N, "image_size": h, "precision": "float32" or "bfloat16"}: a model,
    to be trained on one batch of random floats of that shape, after what was loaded before is
    gone. Answers what is known of it.
{"run": what}: {"loss": number}, after having computed once, from that batch,
    forward: the loss in training mode, with all that the gradients would need;
    backward: that and the gradients of all trained weights, which are dropped;
    step: that and the update of the weights, of the optimizer's state and of averages;
    product: nothing but the product of two SIDE x SIDE matrices of floats; no loss.
{"agree": model, "path": file.npz}: compares, or writes, the logits of known weights.
"""

import contextlib
import gc
import json
import os
import sys
import time

import numpy as np

SIDE = 2048  # of the matrices


def serve(version, load):
    """Answers on stdout until stdin ends.

    `load(path, threads)` gives `bind(array)`, which gives `(run, output)`: `run()` computes the
    outputs of that very batch, `output()` is the last of them, an array [N, classes].
    """
    loaded = {}
    _answer_lines(version, lambda request: _answer(request, load, loaded))


def serve_runs(version, load, agree):
    """As `serve`; `load(request)` is a context that gives (answer, {what: function that runs it
    and gives the loss}), `agree(request)` gives the answer."""
    runs = {}
    with contextlib.ExitStack() as held:
        def answer(request):
            if 'run' in request:
                return {'loss': runs[request['run']]()}
            runs.clear()
            held.close()
            gc.collect()
            if 'agree' in request:
                return agree(request)
            said, found = held.enter_context(load(request))
            runs.update(found)
            return said

        _answer_lines(version, answer)


def batch(request):
    """The images, float32 [N, h, h, 3], and labels, int64 [N], of a request to load."""
    draw, size = np.random.RandomState(1), request['image_size']
    shape = request['batch_size'], size, size, 3
    return draw.standard_normal(shape).astype(np.float32), draw.randint(0, 10, shape[:1])


def matrices():
    """The two that a product is timed with: float32 [SIDE, SIDE]."""
    return np.random.RandomState(1).uniform(-1, 1, (2, SIDE, SIDE)).astype(np.float32)


def _answer_lines(version, answer):
    answers = os.fdopen(os.dup(1), 'w')
    os.dup2(2, 1)  # what libraries print must not mix with answers

    def say(value):
        answers.write(json.dumps(value) + '\n')
        answers.flush()

    say({'version': version})
    for line in sys.stdin:
        request = json.loads(line)
        try:
            say(answer(request))
        except Exception as error:  # the asker shows it
            say({'error': ' '.join(str(error).split())[:300] or type(error).__name__})


def _answer(request, load, loaded):
    if 'load' in request:
        array = np.random.RandomState(1).standard_normal(request['shape']).astype(np.float32)
        loaded[request['load']] = load(request['path'], request['threads'])(array)[0]
        return {}
    if 'time' in request:
        return _time(loaded[request['time']], request['warmup'], request['runs'])
    images, size = np.load(request['images']), request['batch_size']
    bind, found = load(request['predict'], 1), []
    for start in range(0, len(images), size):
        run, output = bind(images[start:start + size])
        run()
        found.append(np.argmax(output(), 1))
    np.save(request['output'], np.concatenate(found))
    return {}


def _time(run, warmup, runs):
    for _ in range(warmup):
        run()
    taken = []
    for _ in range(runs):
        start = time.perf_counter()
        run()
        taken.append(time.perf_counter() - start)
    return {'median': 1e3 * float(np.median(taken)), 'min': 1e3 * min(taken)}
