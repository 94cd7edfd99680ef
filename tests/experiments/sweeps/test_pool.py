"""The pool of trainings: how many at once, failures, signals."""

import os
import signal
import threading
from types import SimpleNamespace

from permafrost import machine, runs
from permafrost.experiments.sweeps import pool
from permafrost.experiments.sweeps.plan import PlannedRun
from tests.experiments.sweeps import helpers


def test_cores_are_shared_out():
    def flags(parallel, cores, *arguments, deterministic=False):
        config = SimpleNamespace(deterministic=deterministic)
        return pool.thread_flags(PlannedRun('a', 1, '', arguments, config, ''), parallel, cores)
    assert flags(1, 8) == []
    assert flags(3, 8) == ['--intra_op_threads=2', '--inter_op_threads=2']
    assert flags(4, 2) == ['--intra_op_threads=1', '--inter_op_threads=1']
    assert flags(4, 2, '--intra_op_threads=2') == flags(4, 2, deterministic=True) == []


def test_a_run_that_goes_on_alone_has_all_cores(synthetic, tmp_path, monkeypatch):
    """Its config.json keeps the threads that it had next to others."""
    monkeypatch.setattr(machine, 'cores', lambda: 2)
    flags = helpers.data_flags(synthetic)
    with helpers.fast_trainings():
        for parallel, threads in ((2, 1), (1, 0)):
            run, = helpers.planned_runs(tmp_path, *flags, f'--steps={60 // parallel}')
            assert pool.run_all(Recorder([run]), parallel) == 0
            config, _ = runs.read_config(run.directory)
            assert config.intra_op_threads == config.inter_op_threads == threads
    kept = run._replace(arguments=(*run.arguments, '--intra_op_threads=1'))
    assert pool.thread_flags(kept, 1, 8) == []


class Recorder(pool.RunSource):
    """A source of `planned` that notes what the pool tells it; `on_watch` is called with a run."""

    def __init__(self, planned, on_watch=lambda run: False):
        self.pending, self.ends, self.most = list(planned), {}, 0
        self.on_watch, self.training = on_watch, set()

    def next(self):
        if not self.pending:
            return None
        run = self.pending.pop(0)
        self.training.add(run.label)
        self.most = max(self.most, len(self.training))
        return run

    def is_empty(self):
        return not self.pending

    def should_stop(self, run):
        return self.on_watch(run)

    def finished(self, run, problem):
        self.training.remove(run.label)
        self.ends[run.label] = problem

    def progress(self, running):
        return f'{len(self.ends)} ended'


def test_a_failed_run_does_not_end_the_others(synthetic, tmp_path, capsys):
    source = Recorder(helpers.planned_runs(tmp_path, *helpers.data_flags(
        synthetic, '--vary=learning_rate=2,0.2')))
    with helpers.fast_trainings():
        assert pool.run_all(source, 2) == 1
    assert source.most == 2 and set(source.ends) == {
        'baseline seed 1', 'learning_rate=2 seed 1', 'learning_rate=0.2 seed 1'}
    assert [label for label, problem in source.ends.items() if problem] == [
        'learning_rate=2 seed 1']
    out = capsys.readouterr().out
    assert 'learning_rate=2 seed 1: FAILED: loss became NaN' in out
    assert 'baseline seed 1: done at step 20\n' in out


def test_a_run_that_the_source_gives_up_is_no_failure(synthetic, tmp_path, capsys):
    source = Recorder(helpers.planned_runs(tmp_path, *helpers.data_flags(
        synthetic, '--steps=100000')), on_watch=lambda run: run.step() >= 10)
    with helpers.fast_trainings():
        assert pool.run_all(source, 1) == 0
    assert source.ends == {'baseline seed 1': ''}
    assert 'baseline seed 1: stopped at step ' in capsys.readouterr().out


def test_a_pool_that_waits_for_another_process_says_so(monkeypatch, capsys):
    monkeypatch.setattr(pool, 'POLL_SECS', .01)
    monkeypatch.setattr(pool, 'WAIT_SECS', .005)
    source, polls = Recorder([]), iter([False] * 5 + [True])
    source.is_empty = lambda: next(polls)
    assert pool.run_all(source, 1) == 0
    assert capsys.readouterr().out == '0 ended, waiting for the runs of another process\n'


def test_after_a_signal_all_trainings_save(synthetic, tmp_path, capsys):
    planned = helpers.planned_runs(tmp_path, *helpers.data_flags(
        synthetic, '--steps=100000', '--seeds=3'))

    def interrupt(run):
        if not sent and planned[0].step() >= 10 and planned[1].step() >= 10:
            sent.append(threading.Timer(0, os.kill, (os.getpid(), signal.SIGTERM)))
            sent[0].start()
        return False

    sent, source = [], Recorder(planned, interrupt)
    with helpers.fast_trainings():
        assert pool.run_all(source, 2) == 143
    assert source.ends == {} and len(source.pending) == 1
    for run in planned[:2]:
        assert run.step() >= 10 and not run.is_done()


def test_what_the_source_has_given_up_stays_so_after_a_signal(synthetic, tmp_path):
    planned, = helpers.planned_runs(tmp_path, *helpers.data_flags(synthetic, '--steps=100000'))

    def give_up(run):
        if not given_up and run.step() >= 10:
            given_up.append(run)
            os.kill(os.getpid(), signal.SIGTERM)
        return bool(given_up)

    given_up, source = [], Recorder([planned], on_watch=give_up)
    with helpers.fast_trainings():
        assert pool.run_all(source, 1) == 143
    assert source.ends == {planned.label: ''}
