"""A sweep from its flags to its table: fast trainings; and real ones that are killed."""

import json
import os
import re

import optuna
import pytest

from permafrost import runs
from permafrost.errors import UsageError, UserError
from permafrost.evaluation import history
from permafrost.experiments.sweeps import speed, sweep
from permafrost.experiments.sweeps.search import trials
from tests import in_process
from tests.experiments.sweeps import helpers
from tests.experiments.sweeps.test_plan import write_run
from tests.processes import command, finish


def test_a_study_is_trained_once_and_extended(synthetic, tmp_path, capsys):
    flags = helpers.data_flags(synthetic, '--vary=learning_rate=0.1', '--seeds=2', '--parallel=2')
    assert helpers.run_fast(tmp_path / 'study', *flags) == 0
    out = capsys.readouterr().out
    assert 'one at a time: 2 variants x 2 seeds, 100 validation images' in out
    assert '4 of 4 runs done' in out
    table = ['baseline           0.6348 ± 0.0007 (2 seeds)',
             'learning_rate=0.1  0.6682 ± 0.0007 (2 seeds)']
    assert [line for line in out.splitlines() if '±' in line] == table
    assert re.search(r'^next: .*compare\.py', out.splitlines()[-1])
    assert helpers.run_fast(tmp_path / 'study') == 0
    again = capsys.readouterr().out
    assert 'starts' not in again and table[1] in again
    study = json.loads((tmp_path / 'study/study.json').read_text())
    study['vary']['learning_rate'].append(0.2)  # edited and given again
    (tmp_path / 'study/study.json').write_text(json.dumps(study))
    assert helpers.run_fast(tmp_path / 'study') == 0
    more = capsys.readouterr().out
    assert re.findall(r'^(.*): starts', more, re.M) == [
        f'learning_rate=0.2 seed {seed}' for seed in (1, 2)]


def test_a_failed_run_is_named_and_tried_again(synthetic, tmp_path, capsys):
    flags = helpers.data_flags(synthetic, '--vary=learning_rate=3,0.1')
    for _ in range(2):
        assert helpers.run_fast(tmp_path / 'study', *flags) == 1
        out = capsys.readouterr().out
        assert 'failed (the next sweep retries them): learning_rate=3 seed 1\n' in out
        assert 'learning_rate=0.1  0.66' in out and 'learning_rate=3    no accuracy' in out
        assert re.search(r'^next: .*sweep\.py', out.splitlines()[-1])
        flags = []


def test_a_run_that_goes_on_does_not_change_the_mean(synthetic, tmp_path, capsys):
    flags = helpers.data_flags(synthetic, '--seeds=2')
    finished, unfinished = helpers.planned_runs(tmp_path, *flags)
    for run, state, accuracy in ((finished, 'done', .6), (unfinished, 'stopped', .1)):
        write_run(run)
        runs.write_status(run.directory, state=state, step=20)
        history.write(run.directory, [history.EpochRow(
            1, 10, 1., 0., 'validation', 1., accuracy, .1, 1., 1.)])
    sweep._print_table([finished, unfinished])
    assert capsys.readouterr().out == 'baseline  0.6000\n'


def test_a_dry_run_trains_nothing(synthetic, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(speed, 'MEASURED_SECS', .2)
    flags = helpers.data_flags(synthetic, '--steps=3000', '--vary=learning_rate=0.1', '--dry_run')
    assert helpers.run_fast(tmp_path / 'study', *flags) == 0
    out = capsys.readouterr().out
    assert re.search(r'^baseline seed 1: lenet5, 3000 steps, 0:\d\d:\d\d at \d+ images/s$', out,
                     re.M)
    assert re.search(r'^2 runs to train, 1 at once: 0:\d\d:\d\d$', out, re.M)
    assert not (tmp_path / 'study').exists()


def test_a_study_without_held_out_images_says_what_its_accuracies_are(synthetic, tmp_path, capsys,
                                                                      monkeypatch):
    monkeypatch.setattr(speed, 'MEASURED_SECS', .1)
    settings = {'model': 'lenet5', 'dataset': 'synthetic', 'data_dir': synthetic.directory,
                'batch_size': 32, 'steps': 3000}
    for folder, base, notes in (
            ('without', settings, 1), ('zero', {**settings, 'validation': 0}, 0),
            ('some', {**settings, 'validation': 100}, 0)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / 'study.json').write_text(json.dumps({'base': base}))
        assert helpers.run_fast(tmp_path / folder, '--dry_run') == 0
        assert capsys.readouterr().out.count(
            'note: study.json holds out no images, so accuracies are on the test images. To choose '
            'settings, add "validation": 5000 to its base.\n') == notes


def test_a_dry_run_of_a_search_lists_a_trial_once(synthetic, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(speed, 'MEASURED_SECS', .1)
    flags = helpers.data_flags(synthetic, '--vary=learning_rate=log:0.01..1', '--search=50',
                               '--steps=3000', '--seeds=2', '--dry_run')
    assert helpers.run_fast(tmp_path / 'study', *flags) == 0
    out = capsys.readouterr().out
    assert 'baseline' not in out
    assert re.findall(r'^each trial seed (\d): lenet5', out, re.M) == ['1', '2']
    assert re.search(r'^100 runs to train, 1 at once: ', out, re.M)
    assert not (tmp_path / 'study').exists()
    monkeypatch.setattr(speed, 'measure', None)  # it is known
    alike = helpers.planned_runs(tmp_path, *helpers.data_flags(synthetic))[0]
    trial = alike._replace(directory=str(tmp_path / 'study' / 'runs' / 'trial0' / 'seed1'))
    write_run(trial)
    runs.write_status(trial.directory, images_per_second=9., state='done')
    search = optuna.create_study(storage=f'sqlite:///{tmp_path}/study/search.db')
    for _ in range(49):  # some repeat settings, so they have no run
        search.ask()
    assert helpers.run_fast(tmp_path / 'study', *flags) == 0
    out = capsys.readouterr().out
    assert '50 trials of up to 3000 steps, 2 seeds' in out and '49 of 50 trials have begun' in out
    assert re.search(r'^2 runs to train, 1 at once: ', out, re.M)
    search.ask()
    assert helpers.run_fast(tmp_path / 'study', *flags) == 0
    assert '0 runs to train' in capsys.readouterr().out


def test_a_search_draws_a_setting_from_one_range(synthetic, tmp_path):
    flags = helpers.data_flags(synthetic, '--vary=learning_rate=0.01..0.1,0.5..1', '--search=5')
    with pytest.raises(UsageError, match='draws learning_rate from one range or from a list of '
                       'values, not from 0.01..0.1,0.5..1'):
        helpers.run_fast(tmp_path / 'study', *flags)
    assert not (tmp_path / 'study').exists()


@pytest.mark.parametrize('vary, message', [
    ('learning_rate=log:0..1', 'a range is LOW..HIGH'), ('optimizer=sgdd,adam', 'did you mean sgd'),
    ('optimizer=sgd..adam', "unknown optimizer 'sgd..adam'"), ('learning_rate=-1..2', '-1'),
    ('batch_size=0.5..2', 'batch_size')])
def test_a_search_refuses_values_before_it_writes_anything(synthetic, tmp_path, vary, message):
    for more in ((), ('--dry_run',)):
        with pytest.raises(UsageError, match=message):
            helpers.run_fast(tmp_path / 'study', *helpers.data_flags(
                synthetic, f'--vary={vary}', '--search=2', *more))
    assert not (tmp_path / 'study').exists()


def test_a_search_may_vary_settings_that_need_each_other(synthetic, tmp_path, capsys):
    flags = helpers.data_flags(synthetic, '--vary=momentum=0.9,0.8',
                               '--vary=optimizer=nesterov,momentum', '--search=1')
    assert helpers.run_fast(tmp_path / 'study', *flags) == 0


def test_a_search_is_reported(synthetic, tmp_path, capsys):
    flags = helpers.data_flags(synthetic, '--vary=learning_rate=log:0.01..1', '--search=5',
                               '--steps=90', '--parallel=2')
    assert helpers.run_fast(tmp_path / 'study', *flags) == 0
    out = capsys.readouterr().out
    counts = re.findall(r'^5 trials: (\d) complete(?:, (\d) pruned)?$', out, re.M)[-1]
    assert sum(int(count or 0) for count in counts) == 5
    best = re.search(r'^best: trial(\d), validation accuracy ([\d.]+): learning_rate=', out, re.M)
    rows = history.read(str(tmp_path / f'study/runs/trial{best.group(1)}/seed1'))
    assert f'{max(row.eval_accuracy for row in rows):.4f}' == best.group(2)
    assert helpers.run_fast(tmp_path / 'study') == 0
    assert 'starts' not in capsys.readouterr().out
    assert helpers.run_fast(tmp_path / 'study', '--search=6') == 0
    assert capsys.readouterr().out.count(': starts') == 1


def test_a_search_is_complete_although_a_trial_diverged(synthetic, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(optuna.samplers, 'TPESampler', lambda constant_liar: (
        optuna.samplers.RandomSampler(seed=1)))
    flags = helpers.data_flags(synthetic, '--vary=learning_rate=0.1,2', '--vary=batch_size=64,16',
                               '--search=8', '--epochs=2')
    flags.remove('--steps=20')
    assert helpers.run_fast(tmp_path / 'study', *flags) == 0
    out = capsys.readouterr().out
    assert re.search(r'^8 trials: \d complete, (\d pruned, )?\d failed$', out, re.M)
    assert ', 8 trials of up to 68 steps,' in out  # 2 * 540 / 16


def test_a_search_whose_trials_all_fail_ends(synthetic, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(trials, 'DIVERGED', 'another reason than that of fast_train.py')
    flags = helpers.data_flags(synthetic, '--vary=learning_rate=2..3', '--search=30',
                               '--parallel=2')
    with pytest.raises(UserError, match='^3 trials in a row failed, the last one, trial.*, with: '
                       'loss became NaN.*train.log.: remove the cause, then repeat') as error:
        helpers.run_fast(tmp_path / 'study', *flags)
    assert error.value.exit_code == 1
    assert capsys.readouterr().out.count(': starts') <= 4


def test_wrong_flags_are_one_line(synthetic, tmp_path):
    flags = helpers.data_flags(synthetic)
    search = [tmp_path / 'x', '--search=3', '--vary=momentum=0.1,0.2']
    for arguments, reason in (
            ([], 'name the directory'), ([tmp_path / 'x', '--vary=momentum=x'], 'momentum=x: '),
            ([*search, '--validation=0'], 'needs --validation'),
            ([*search, '--eval_epochs=0'], 'needs --validation and --eval_epochs'),
            ([*search, '--vary=validation=0,100'], 'the same for all trials')):
        result = in_process.run('sweep.py', *flags, *arguments)
        assert (result.code, result.stdout) == (2, '') and result.stderr.count('\n') == 1
        assert reason in result.stderr
    assert not os.path.exists(str(tmp_path / 'x'))


@pytest.mark.slow
def test_a_killed_study_ends_as_one_that_was_not(synthetic, tmp_path):
    """Real trainings, killed with their sweep in the middle of a run."""
    flags = [*helpers.data_flags(synthetic), '--deterministic', '--log_steps=1', '--epochs=12',
             '--save_steps=5', '--eval_epochs=1', '--steps=200']
    finish(command('sweep.py', tmp_path / 'plain', *flags))
    sweep = command('sweep.py', tmp_path / 'killed', *flags)
    helpers.kill_with_children(sweep, lambda: reached(tmp_path / 'killed', 'baseline', 20))
    out = finish(command('sweep.py', tmp_path / 'killed'))
    step = re.search(r'^baseline seed 1: continues at step (\d+)$', out, re.M)
    assert step and 20 <= int(step.group(1)) < 200
    plain, killed = (history.read(str(tmp_path / folder / 'runs/baseline/seed1'))
                     for folder in ('plain', 'killed'))
    assert len(plain) == 12
    assert [values_of(row) for row in plain] == [values_of(row) for row in killed]


def values_of(row):
    return [getattr(row, name) for name in history.COLUMNS if 'second' not in name]


def reached(study, variant, step):
    return runs.read_status(str(study / 'runs' / variant / 'seed1')).get('step', 0) >= step
