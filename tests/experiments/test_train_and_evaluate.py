"""A training as the scripts start it: evaluated while it runs, with a report at its end."""

import os
import shutil

import numpy as np

from permafrost import runs
from permafrost.evaluation import history
from permafrost.experiments import train_and_evaluate
from permafrost.training.checkpoints import finding
from tests import networks


def test_a_training_leaves_rows_and_a_report_of_its_last_state(synthetic, tmp_path, monkeypatch):
    run, reports = str(tmp_path / 'run'), []
    write = train_and_evaluate.run_report.write

    def record(run):
        reports.append(runs.read_status(run)['state'])
        return write(run)

    monkeypatch.setattr(train_and_evaluate.run_report, 'write', record)
    with networks.registered():
        setup = networks.train_setup(synthetic, run, 40, eval_epochs=1., summary_steps=10)
        assert train_and_evaluate.train(setup) == 0
    assert [row.step for row in history.read(run)] == [20, 40]
    assert reports[0] == 'running' and reports[-1] == 'done'
    assert os.path.exists(os.path.join(run, 'eval', 'test', 'metrics.jsonl'))


def test_a_training_begins_with_the_weights_of_another_and_goes_on_without_it(synthetic, tmp_path):
    """The checkpoint of step 0 holds them; the moving statistics belong to them."""
    source, run = str(tmp_path / 'source'), str(tmp_path / 'run')
    networks.train(synthetic, source, 6)
    with networks.registered():
        setup = networks.train_setup(synthetic, run, 2, 'normed', init_from=source, freeze='conv1')
        assert train_and_evaluate.train(setup) == 0
        trained, start, end = (finding.find_checkpoint(*each) for each in (
            (source, 6), (run, 0), (run, 2)))
        with finding.open_checkpoint(trained.path) as theirs:
            for step, unchanged in ((start, ''), (end, 'conv1/')):
                with finding.open_checkpoint(step.path) as ours:
                    names = [name for name in ours.get_variable_to_shape_map()
                             if name.startswith(unchanged or 'conv') and 'Average' not in name]
                    assert len(names) > 2
                    for name in names:
                        average = name + '/ExponentialMovingAverage'
                        expected = average if theirs.has_tensor(average) else name
                        np.testing.assert_array_equal(ours.get_tensor(name),
                                                      theirs.get_tensor(expected))
        shutil.rmtree(source)
        setup = networks.train_setup(synthetic, run, 4, 'normed', resume=True, init_from=source,
                                     freeze='conv1')
        assert train_and_evaluate.train(setup) == 0
    assert finding.last_step(run) == 4
    assert [name for name in os.listdir(run) if name.startswith('events')]
