"""TrainingMeans: means of steps, which survive a kill bit for bit."""

import os

import numpy as np

from permafrost import runs
from permafrost.evaluation.training_means import TrainingMeans
from permafrost.training.checkpoints import finding

NUMBERS = np.random.RandomState(1).rand(20, 2).astype(np.float32)


def add(means, numbers):
    """Add steps; return the means after them."""
    for cross_entropy, accuracy in numbers:
        means.add(cross_entropy, accuracy)
    return means.cross_entropy, means.accuracy


def checkpoint(run, step):
    """Make a file that has the name of a checkpoint."""
    open(finding.path_of(run, step, '.index'), 'w').close()


def test_means_are_those_of_numpy_since_the_last_clear(tmp_path):
    means = TrainingMeans(str(tmp_path))
    assert (means.cross_entropy, means.accuracy) == (None, None)
    np.testing.assert_allclose(add(means, NUMBERS[:7]), NUMBERS[:7].mean(0), rtol=1e-6)
    means.clear()
    np.testing.assert_allclose(add(means, NUMBERS[7:]), NUMBERS[7:].mean(0), rtol=1e-6)


def test_a_killed_training_continues_its_sums(tmp_path):
    run = runs.create('', '', str(tmp_path / 'run'))
    expected = add(TrainingMeans(run), NUMBERS)
    first = TrainingMeans(run)
    for step in (4, 9, 14):  # killed after the sums of step 14, before its checkpoint
        add(first, NUMBERS[step - (4 if step == 4 else 5):step])
        first.save(step)
        if step < 14:
            checkpoint(run, step)
    second = TrainingMeans(run)
    second.restore(9)
    assert add(second, NUMBERS[9:]) == expected
    second.save(20)
    checkpoint(run, 20)
    os.remove(finding.path_of(run, 4, '.index'))
    second.save(21)
    third = TrainingMeans(run)
    third.restore(4)  # its checkpoint was deleted, and so were its sums
    assert third.cross_entropy is None
    third.restore(20)
    assert (third.cross_entropy, third.accuracy) == expected


def test_damaged_sums_are_no_error(tmp_path, capsys):
    run = runs.create('', '', str(tmp_path / 'run'))
    for content in ('', '[]', '{"3": 4}', '{"3": {"steps": -1}}', '{"x": {"steps": 1}}',
                    '{"3": {"steps": 1, "cross_entropy": NaN}}'):
        with open(os.path.join(run, 'train', 'sums.json'), 'w') as stream:
            stream.write(content)
        means = TrainingMeans(run)
        means.restore(3)
        assert means.cross_entropy is None
        means.save(3)
