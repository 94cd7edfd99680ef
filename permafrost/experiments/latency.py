"""Latency in C++: files timed in turn by label_image, so that all meet the same machine."""

import contextlib
import dataclasses
import hashlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from typing import Any, Dict, List, NamedTuple, Optional, Sequence

import numpy as np

from permafrost import engines, files, schema
from permafrost.cli import child_process
from permafrost.cli.commands import ROOT
from permafrost.errors import UserError, one_line, printable
from permafrost.evaluation.runtimes import client
from permafrost.schema import limited

PROGRAM = os.path.join('label_image', 'build', 'label_image')
MIN_ROUNDS, MAX_ROUNDS = 3, 20
SECONDS = 7.  # to spend on a graph, with the starts of label_image
CLOSE = 0.005  # a round that changes no latency by more is the last
SAMPLE_MS = 500.  # to time in a round
SLICE = 0.05  # seconds that a graph runs before the next one has its turn, or longer:
SLICE_RUNS = 20  # else most medians of a slow graph would contain the turns of the others
AT_ONCE = 8  # graphs: each takes about 100 MB
RUNS = 5  # of a median: so that it does not see the ends of slices
PERCENTILE = 25  # of the medians: half of them or more meet other processes on a busy machine


class Turn(NamedTuple):
    """How often a graph is measured in a round, and for how long at a time."""
    repeats: int  # medians in a round
    seconds: float  # of a turn, before the next graph runs


class Latency(NamedTuple):
    """The latency of a graph."""
    latency_ms: float  # of an image alone: PERCENTILE of the medians of RUNS runs
    rounds: int
    engine: str
    library: str  # the version of the runtime
    runtime: str = 'TensorFlow'
    allocator: str = ''  # of memory: tcmalloc or libc


@dataclasses.dataclass
class Answer:
    """The fields that are read of the json that label_image prints."""
    repeat_medians_ms: Sequence[float] = limited(minimum=0, count=(1, 1000))
    runtime: str = limited(count=(1, 100))
    version: str = limited(count=(1, 100))
    allocator: str = limited('', count=(0, 100))


def time_in_turn(graphs: Sequence[str]) -> Dict[str, Latency]:
    """Return the latency of .pb, .tflite and .onnx files, {path: Latency}: one image, one thread.

    A round starts label_image once for each graph, and lets them run in turn: what else the
    machine does slows all of them alike. Graphs that cannot run are left out, with a note.
    """
    medians: Dict[str, List[float]] = {}
    turns, runtimes, done = {}, {}, 0
    for environment in sorted(set(map(_runtime_environment, graphs)) - {None}):
        with contextlib.suppress(UserError):  # then label_image says so, too
            client.python(environment)  # builds it
    for graph in graphs:
        answer = _label_image(graph, repeats=3)
        if answer:
            one = max(1e-3, min(answer['repeat_medians_ms']))
            turns[graph] = Turn(int(min(500, max(10, SAMPLE_MS / RUNS / one))),
                                max(SLICE, SLICE_RUNS * one / 1000))
            runtimes[graph] = answer['version'], answer['runtime'], answer.get('allocator', '')
            medians[graph] = []
    latencies: Dict[str, float] = {}
    start = time.monotonic()  # after the program and its libraries were built
    while medians and done < MAX_ROUNDS:
        order = sorted(medians, reverse=bool(done % 2))
        for first in range(0, len(order), AT_ONCE):
            for graph, each in _take_turns(order[first:first + AT_ONCE], turns).items():
                medians[graph] += each
        done += 1
        before, latencies = latencies, {
            graph: float(np.percentile(each, PERCENTILE))
            for graph, each in medians.items() if each}
        if done >= MIN_ROUNDS and (time.monotonic() - start > SECONDS * len(medians) or all(
                abs(latencies[graph] - before[graph]) < CLOSE * before[graph]
                for graph in before)):
            break
    return {graph: Latency(each, done, engines.installed(), *runtimes[graph])
            for graph, each in latencies.items()}


def _take_turns(graphs: Sequence[str], turns: Dict[str, Turn]) -> Dict[str, List[float]]:
    """Return {graph: medians} of one round; of a graph that fails, after a note, none."""
    with contextlib.ExitStack() as stack:
        outputs = {graph: stack.enter_context(tempfile.TemporaryFile()) for graph in graphs}
        processes = {}
        for graph in graphs:
            processes[graph] = subprocess.Popen(
                _command(PROGRAM, graph, turns[graph].repeats), stdin=subprocess.DEVNULL,
                stdout=outputs[graph], stderr=subprocess.DEVNULL, env=_environment(),
                preexec_fn=child_process.end_with_parent(signal.SIGKILL))  # it may be stopped
            stack.callback(processes[graph].wait)
            stack.callback(processes[graph].kill)  # before it is waited for; it may be stopped
            processes[graph].send_signal(signal.SIGSTOP)
        waiting = list(graphs)
        while waiting:
            for graph in list(waiting):
                processes[graph].send_signal(signal.SIGCONT)
                try:
                    processes[graph].wait(turns[graph].seconds)
                    waiting.remove(graph)
                except subprocess.TimeoutExpired:
                    processes[graph].send_signal(signal.SIGSTOP)
        medians = {}
        for graph, stream in outputs.items():
            stream.seek(0)
            answer = _parse(graph, processes[graph].returncode, stream.read(), b'')
            if answer:
                medians[graph] = list(answer['repeat_medians_ms'])
        return medians


def _label_image(graph: str, repeats: int) -> Optional[Dict[str, Any]]:
    """Return what label_image prints of a benchmark, after building it; None if it fails."""
    done = subprocess.run(_command('label_image.sh', graph, repeats), stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=_environment())
    return _parse(graph, done.returncode, done.stdout, done.stderr)


def _runtime_environment(graph: str) -> Optional[str]:
    """Return the environment whose library runs an exported file; None: that of this process."""
    return client.RUNTIME_OF.get(os.path.splitext(graph)[1])


def _command(program: str, graph: str, repeats: int) -> List[str]:
    path = os.path.abspath(graph)
    environment = _runtime_environment(path)
    library = os.path.join(ROOT, '.venv', environment) if environment else sys.prefix
    return [os.path.join(ROOT, program),
            *(['--graph=' + path] if program == PROGRAM else [path, '--']),
            '--library=' + library, '--benchmark', '--json', f'--runs={RUNS}',
            f'--repeats={repeats}']


def _environment() -> Dict[str, str]:
    # label_image would take over the threads and the log level of this process.
    return {name: value for name, value in os.environ.items()
            if not name.startswith(('OMP_', 'KMP_', 'TF_'))}


def _parse(graph: str, code: int, output: bytes, errors: bytes) -> Optional[Dict[str, Any]]:
    try:
        if not code:
            return schema.check(files.parse_json(output), Answer)
        reason = (errors.decode('utf-8', 'replace').strip().splitlines() or [
            f'label_image exited with code {code}'])[-1]
    except (ValueError, UserError) as error:
        reason = str(error)
    print(f'note: {printable(graph)} is not timed: {printable(one_line(reason))}', flush=True)
    return None


def record(run: str, graph: str, latency: Latency) -> None:
    """Write <run>/latency.json, for the report of the run; without it on a read-only disk."""
    with contextlib.suppress(OSError), files.open_regular(graph) as stream:
        files.write_json(os.path.join(run, 'latency.json'), {
            'latency_ms': round(latency.latency_ms, 4), 'engine': latency.engine, 'threads': 1,
            'tensorflow': latency.library, 'sha256': hashlib.sha256(stream.read()).hexdigest()})
