"""A child: a line of json per request on stdin, one per answer on stdout. Needs only NumPy.

The first line is {"version": of the library}. A request that fails is answered by {"error": line}.
A runtime answers

{"predict": file, "images": file.npy, "output": file.npy, "batch_size": N, "fetch": name}: write the
    outputs [images, classes], in their own type, for images of the type and in the layout that the
    file is fed: the outputs of that name, or the first ones if it is null. Answer: {}.
{"describe": file}: {"inputs": [{"name", "dtype", "shape"}], "outputs": [names], "labels": [names]};
    a size of -1 is open. Of ONNX also "source_ops": {output: see onnx_file}. Not all runtimes
    answer it.
{"load": name, "path": file, "shape": [N, h, w, 3], "threads": T}: load a model, to be timed on
    random floats of that shape. Answer: {}.
{"time": name, "warmup": W, "runs": R}: time R runs after W others. Answer: {"median": ms}.
"""

import json
import os
import sys
import time
import zipfile
from typing import Any, Callable, Dict, List, Optional, Tuple

import numpy as np

from permafrost import machine

MAX_LABEL_BYTES = 1 << 20


def serve_inference(version: str, load: Callable[[str, int, Optional[str]], Callable],
                    describe: Optional[Callable[[str], Dict[str, Any]]] = None) -> None:
    """Answer the requests of a runtime until stdin ends.

    `load(path, threads, name)` returns `bind(array)`, which returns `(run, output)`: `run()`
    computes the outputs of that batch, `output()` returns the last ones, an array [N, classes];
    `name` is that of the output, None for the first. `describe(path)` answers that request.
    """
    loaded: Dict[str, Callable] = {}
    last: Dict[Tuple[Any, ...], Callable] = {}  # the model of the last request, to predict with

    def bind_of(path, output):
        key = (path, output, os.path.exists(path) and os.path.getmtime(path))
        if key not in last:
            last.clear()
            last[key] = load(path, machine.cores(), output)
        return last[key]

    def answer(request):
        if 'load' in request:
            array = np.random.RandomState(1).standard_normal(request['shape'])
            bind = load(request['path'], request['threads'], None)
            loaded[request['load']] = bind(array.astype(np.float32))[0]
            return {}
        if 'describe' in request and describe:
            return describe(request['describe'])
        if 'time' in request:
            return _time(loaded[request['time']], request['warmup'], request['runs'])
        images, size = np.load(request['images']), request['batch_size']
        bind = bind_of(request['predict'], request.get('fetch'))
        outputs = []
        for start in range(0, len(images), size):
            run, output = bind(images[start:start + size])
            run()
            outputs.append(np.array(output()))
        np.save(request['output'], np.concatenate(outputs))
        return {}

    answer_lines(version, answer)


def answer_lines(version: str, answer: Callable[[Any], Dict[str, Any]]) -> None:
    """Write {"version": version}, then `answer(request)` for each request, until stdin ends."""
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


def tflite_labels(path: str) -> List[str]:
    """Return the class names that are attached to a TensorFlow Lite file, or none.

    As in label_image, they must be stored as they are: a small archive can inflate to gigabytes.
    """
    if not zipfile.is_zipfile(path):
        return []
    with zipfile.ZipFile(path) as archive:
        if 'labels.txt' not in archive.namelist():
            return []
        entry = archive.getinfo('labels.txt')
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size > MAX_LABEL_BYTES:
            return []
        return archive.read('labels.txt').decode('utf-8', 'replace').splitlines()


def _time(run, warmup, runs):
    times = []
    for _ in range(warmup + runs):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return {'median': 1e3 * float(np.median(times[warmup:]))}
