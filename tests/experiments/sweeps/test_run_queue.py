"""The queue of a study's runs: what is left, who trains it, how long it takes."""

from permafrost import runs
from permafrost.experiments.sweeps.run_queue import RunQueue
from tests.experiments.sweeps import helpers
from tests.experiments.sweeps.test_plan import write_run


def finish(run, **status):
    write_run(run)
    runs.write_status(run.directory, **dict(
        {'state': 'done', 'step': 20, 'images_per_second': 64.}, **status))


def planned(synthetic, tmp_path):
    return helpers.planned_runs(tmp_path, *helpers.data_flags(synthetic, '--seeds=3'))


def test_a_finished_run_is_not_repeated(synthetic, tmp_path):
    runs_ = planned(synthetic, tmp_path)
    finish(runs_[1])
    queue = RunQueue(runs_, 1)
    assert [queue.next(), queue.next(), queue.next()] == [runs_[0], runs_[2], None]
    assert queue.is_empty()


def test_two_sweeps_share_the_runs_and_take_over(synthetic, tmp_path):
    runs_ = planned(synthetic, tmp_path)
    first, second = RunQueue(runs_, 1), RunQueue(runs_, 1)
    assert [first.next(), second.next(), first.next()] == runs_
    assert first.next() is second.next() is None and not second.is_empty()
    finish(runs_[0])
    first.finished(runs_[0], '')
    first.finished(runs_[2], 'failed')  # the other sweep tries it
    assert second.next() == runs_[2] and first.problems == {'baseline seed 3': 'failed'}
    second.finished(runs_[1], 'failed')
    assert second.next() is None and second.is_empty(), 'its own failure waits for the next start'


def test_progress_has_the_time_that_is_left(synthetic, tmp_path):
    runs_ = planned(synthetic, tmp_path)
    queue = RunQueue(runs_, 1)
    assert queue.progress([]) == '0 of 3 runs done'
    finish(runs_[0])
    queue.next(), queue.next()
    # 20 and 10 steps of 32 images at 64 images/s, and 10 s to start each
    assert queue.progress([(runs_[1], 0), (runs_[2], 10)]) == '1 of 3 runs done, ETA 0:00:35'
