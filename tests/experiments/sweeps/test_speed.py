"""Measured speed, and the time that runs take."""

import re

import pytest

from permafrost.errors import UserError
from permafrost.experiments.sweeps import speed
from permafrost.experiments.sweeps.training_process import TrainingProcess
from tests.experiments.sweeps import helpers
from tests.experiments.sweeps.test_run_queue import finish


def test_a_speed_is_measured_by_a_short_training(synthetic, tmp_path, monkeypatch):
    monkeypatch.setattr(speed, 'MEASURED_SECS', .3)
    run, = helpers.planned_runs(tmp_path, *helpers.data_flags(synthetic, '--steps=100000'))
    run = run._replace(arguments=(*run.arguments, '--validation=100', '--patience=2'))
    with helpers.fast_trainings():
        measured = speed.measure(run, [])
    assert 100 < measured < 6400  # steps of 10 ms and 32 images: at most 3,200 but for pauses
    assert not (tmp_path / 'runs').exists()


def test_a_training_that_fails_is_to_be_repeated_alone(synthetic, tmp_path):
    """Its log is gone."""
    run, = helpers.planned_runs(tmp_path, *helpers.data_flags(synthetic, '--learning_rate=2'))
    with helpers.fast_trainings(), pytest.raises(UserError) as error:
        speed.measure(run, [])
    assert re.match('baseline seed 1: loss became NaN: use a lower learning rate: train it alone '
                    'to see why: .*train.py .*--set=learning_rate=2', str(error.value))
    assert 'train.log' not in str(error.value)


def test_a_training_that_is_too_short_says_what_to_do(synthetic, tmp_path):
    run, = helpers.planned_runs(tmp_path, *helpers.data_flags(synthetic, '--steps=1'))
    with helpers.fast_trainings(), pytest.raises(UserError, match=(
            '^baseline seed 1 finished before its speed could be measured: leave out --dry_run, or '
            'give more than 1 step$')):
        speed.measure(run, [])


def test_an_interrupted_measurement_leaves_no_training_behind(synthetic, tmp_path, monkeypatch):
    run, = helpers.planned_runs(tmp_path, *helpers.data_flags(synthetic, '--steps=100000'))
    started = []

    def interrupted(process):
        started.append(process)
        raise SystemExit(130)  # as after Ctrl-C

    monkeypatch.setattr(TrainingProcess, 'step', interrupted)
    with helpers.fast_trainings(), pytest.raises(SystemExit):
        speed.measure(run, [])
    assert started[0].code() is not None


def test_a_kind_without_a_speed_is_as_fast_as_the_mean(synthetic, tmp_path):
    runs = helpers.planned_runs(tmp_path, *helpers.data_flags(
        synthetic, '--vary=batch_size=64,128', '--vary=model=tuto,alex2'))
    finish(runs[0]), finish(runs[1], images_per_second=32.)
    speeds = speed.recorded(runs, parallel=1)
    assert sorted(speeds.values()) == [32., 64.]
    assert speed.seconds_left(runs[0], 10, speeds) == 10 * 32 / 64
    assert speed.seconds_left(runs[1], 0, speeds) == 20 * 64 / 32
    assert speed.seconds_left(runs[2], 0, speeds) == 20 * 128 / 48
    assert speed.recorded(runs, parallel=2) == {}, 'each has only a share of the cores'


def test_totals():
    assert speed.total_seconds([], 2) == 0
    assert speed.total_seconds([50., 30.], 1) == 100.
    assert speed.total_seconds([50., 30., 10.], 2) == 60.
    assert speed.clock_time(3725.4) == '1:02:05'
