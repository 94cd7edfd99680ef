"""Latency by label_image: real graphs, in turn."""

import itertools
import json
import os
import signal
import subprocess
import sys

import pytest

from permafrost import engines
from permafrost.experiments import latency
from tests.label_image.program import TUTO, make
from tests.processes import ROOT


@pytest.fixture(scope='module', autouse=True)
def _built():
    make()


@pytest.mark.slow
def test_graphs_are_timed_in_turn_and_damaged_ones_left_out(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(latency, 'MAX_ROUNDS', latency.MIN_ROUNDS)
    (tmp_path / 'bad\n.pb').write_bytes(b'x')
    (tmp_path / 'copy.pb').symlink_to(TUTO)
    graphs = [TUTO, str(tmp_path / 'bad\n.pb'), str(tmp_path / 'copy.pb')]
    times = latency.time_in_turn(graphs)
    assert set(times) == {TUTO, graphs[2]}
    for each in times.values():
        assert 0 < each.latency_ms < 1000 and each.engine == engines.installed()
        assert each.library.startswith(('1.15', '2.')) and each.rounds >= latency.MIN_ROUNDS
    notes = capsys.readouterr().out.splitlines()
    assert len(notes) == 1 and 'bad\\n.pb is not timed' in notes[0]


def test_settings_of_this_process_are_not_inherited(monkeypatch):
    for name in ('OMP_NUM_THREADS', 'KMP_BLOCKTIME', 'TF_CPP_MIN_LOG_LEVEL'):
        monkeypatch.setenv(name, '1')
    monkeypatch.setenv('OTHER', '1')
    environment = latency._environment()
    assert environment['OTHER'] == '1'
    assert not any(name.startswith(('OMP_', 'KMP_', 'TF_')) for name in environment)


def answers(monkeypatch, take_turns, ms=1.):
    """Let `take_turns(graphs, turns)` answer for label_image: the medians of a round."""
    monkeypatch.setattr(latency, '_take_turns', take_turns)
    monkeypatch.setattr(latency, '_label_image', lambda graph, repeats: {
        'repeat_medians_ms': [ms] * repeats, 'runtime': 'TensorFlow', 'version': '2.21.0'})


def test_rounds_alternate_until_they_agree_and_other_load_does_not_count(monkeypatch):
    rounds = []

    def take_turns(graphs, turns):
        rounds.append(''.join(graphs))
        return {graph: [1. if graph == 'a' else 2.] * 40 + [9.] * 60 for graph in graphs}
    answers(monkeypatch, take_turns)
    times = latency.time_in_turn(['b', 'a'])
    assert (times['a'].latency_ms, times['b'].latency_ms, times['a'].rounds) == (1, 2, 3)
    assert rounds == ['ab', 'ba', 'ab']


@pytest.mark.parametrize('ms, repeats, seconds', [
    (.05, 500, .05), (1., 100, .05), (40., 10, .8), (500., 10, 10.)])
def test_a_slow_graph_has_longer_turns(monkeypatch, ms, repeats, seconds):
    """Else the turns of others would count in most of its medians, which are of RUNS runs."""
    found = []

    def take_turns(graphs, turns):
        found.append(turns['a'])
        return {'a': [ms]}
    answers(monkeypatch, take_turns, ms)
    latency.time_in_turn(['a'])
    assert found[0] == latency.Turn(repeats, pytest.approx(seconds))


def test_a_graph_runs_for_its_turn(monkeypatch):
    waits = []

    class Process(subprocess.Popen):
        def wait(self, timeout=None):
            waits.append(timeout)
            return super().wait()
    monkeypatch.setattr(subprocess, 'Popen', Process)
    monkeypatch.setattr(latency, '_command', lambda *unused: ['true'])
    monkeypatch.setattr(latency, '_parse', lambda *unused: None)
    latency._take_turns(['a', 'b'], {'a': latency.Turn(1, .3), 'b': latency.Turn(1, .4)})
    assert waits[:2] == [.3, .4]


def test_rounds_go_on_while_they_disagree(monkeypatch):
    speed = itertools.chain([8., 4., 2., 1.], itertools.repeat(1.))
    answers(monkeypatch, lambda graphs, turns: {'a': [next(speed)] * 100})
    found = latency.time_in_turn(['a'])['a']
    assert found.latency_ms < 1.01 and 4 < found.rounds < latency.MAX_ROUNDS


def test_the_time_to_build_the_program_is_not_that_of_the_rounds(monkeypatch):
    now, speed = [0.], itertools.count(1)
    answers(monkeypatch, lambda graphs, turns: {'a': [1 / next(speed)] * 100})
    answer = latency._label_image

    def build(graph, repeats):
        now[0] += 1000
        return answer(graph, repeats)
    monkeypatch.setattr(latency, '_label_image', build)
    monkeypatch.setattr(latency.time, 'monotonic', lambda: now[0])
    assert latency.time_in_turn(['a'])['a'].rounds > latency.MIN_ROUNDS


def test_not_too_many_graphs_are_in_memory_at_once(monkeypatch):
    sizes = []

    def take_turns(graphs, turns):
        sizes.append(len(graphs))
        return {graph: [1.] for graph in graphs}
    answers(monkeypatch, take_turns)
    assert len(latency.time_in_turn([str(number) for number in range(11)])) == 11
    assert sizes == [8, 3] * 3


def test_without_a_program_no_graph_is_timed(monkeypatch):
    monkeypatch.setattr(latency, '_label_image', lambda graph, repeats: None)
    assert latency.time_in_turn(['a']) == {}


def test_an_interrupted_round_leaves_no_process(monkeypatch):
    """Stopped processes would stay for ever."""
    started = []

    class Process(subprocess.Popen):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            started.append(self)

        def wait(self, timeout=None):
            if timeout and len(started) == 2 and all(each.poll() is None for each in started):
                raise SystemExit(143)  # as the handler of SIGTERM does
            return super().wait(timeout)
    monkeypatch.setattr(subprocess, 'Popen', Process)
    with pytest.raises(SystemExit):
        latency._take_turns([TUTO, os.path.relpath(TUTO)], {
            name: latency.Turn(1000, .05) for name in (TUTO, os.path.relpath(TUTO))})
    assert started and all(each.returncode == -signal.SIGKILL for each in started)


def test_the_report_finds_the_latency(tmp_path):
    latency.record(str(tmp_path), TUTO, latency.Latency(0.51234, 3, 'tf2', '2.21.0'))
    with open(os.path.splitext(TUTO)[0] + '.json') as stream:
        checksum = json.load(stream)['sha256']
    assert json.loads((tmp_path / 'latency.json').read_text()) == {
        'latency_ms': 0.5123, 'engine': 'tf2', 'threads': 1, 'tensorflow': '2.21.0',
        'sha256': checksum}


@pytest.mark.parametrize('name, place', [
    ('a.pb', sys.prefix), ('a.int8.tflite', os.path.join(ROOT, '.venv', 'litert')),
    ('a.onnx', os.path.join(ROOT, '.venv', 'onnxruntime'))])
def test_each_file_has_the_library_of_its_runtime(name, place):
    for program in ('label_image.sh', latency.PROGRAM):
        command = latency._command(program, name, 3)
        assert f'--library={place}' in command and any(
            argument.endswith(os.sep + name) for argument in command)
