"""The side of a peer: reads lines of JSON, answers each with one. Needs NumPy alone.

{"load": name, "path": file, "shape": [N, h, w, 3], "threads": T}: a model, to be timed on random
    floats of that shape. Answers {}.
{"time": name, "warmup": W, "runs": R}: {"median": ms, "min": ms} of R runs after W.
{"predict": file, "images": file.npy, "output": file.npy, "batch_size": N}: writes the class with
    the highest output for each uint8 image. Answers {}.
"""

import json
import os
import sys
import time

import numpy as np


def serve(version, load):
    """Answers on stdout until stdin ends.

    `load(path, threads)` gives `bind(array)`, which gives `(run, output)`: `run()` computes the
    outputs of that very batch, `output()` is the last of them, an array [N, classes].
    """
    answers = os.fdopen(os.dup(1), 'w')
    os.dup2(2, 1)  # what libraries print must not mix with answers

    def answer(value):
        answers.write(json.dumps(value) + '\n')
        answers.flush()

    answer({'version': version})
    loaded = {}
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer(_answer(request, load, loaded))
        except Exception as error:  # the asker shows it
            answer({'error': ' '.join(str(error).split())[:300] or type(error).__name__})


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
