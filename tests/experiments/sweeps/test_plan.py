"""The plan of a study: directories, command lines, what is left out, what does not fit."""

import functools
import json
import os
import re

import pytest

from permafrost import runs
from permafrost.datasets import loading
from permafrost.errors import UsageError, UserError
from permafrost.experiments.sweeps import plan
from tests import in_process
from tests.experiments.sweeps import helpers


def test_a_plan_has_every_variant_with_the_first_seed_first(synthetic, tmp_path):
    planned = helpers.planned_runs(tmp_path, *helpers.data_flags(
        synthetic, '--vary=learning_rate=0.2,0.05', '--seeds=2'))
    assert [os.path.relpath(run.directory, str(tmp_path)) for run in planned] == [
        f'runs/{name}/seed{seed}' for seed in (1, 2)
        for name in ('baseline', 'learning_rate=0.2', 'learning_rate=0.05')
        if name != 'learning_rate=0.05']  # it is lenet5's own
    assert [run.config.recipe.learning_rate for run in planned] == [0.05, 0.2] * 2
    assert [run.config.seed for run in planned] == [1, 1, 2, 2]
    assert planned[0].config.train_images == 540 and planned[0].label == 'baseline seed 1'
    values = in_process.parse_flags('train.py', planned[3].arguments)
    assert values['seed'] == 2 and values['set'] == ['batch_size=32', 'learning_rate=0.2']


def test_the_dataset_is_read_once(synthetic, tmp_path, monkeypatch):
    opened = []

    def open_dataset(*arguments):
        opened.append(arguments)
        return loading.open_and_hold_out(*arguments)

    monkeypatch.setattr(plan, '_open_once', functools.lru_cache(maxsize=8)(open_dataset))
    planned = helpers.planned_runs(tmp_path, *helpers.data_flags(
        synthetic, '--vary=learning_rate=0.1,0.2,0.3'))
    assert len(planned) == 4 and len(opened) == 1
    assert {run.config.train_images for run in planned} == {540}


def test_a_wrong_value_names_the_variant(synthetic, tmp_path):
    for change, reason in (('optimizer=sgdd', 'sgdd'), ('steps=x', '=x'), ('steps=-1', '-1')):
        with pytest.raises(UsageError, match=f'^{change}: .*{reason}'):
            helpers.planned_runs(tmp_path, *helpers.data_flags(synthetic, '--vary=' + change))


def test_the_home_directory_is_expanded_as_train_py_does(synthetic, tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', str(tmp_path))
    (tmp_path / 'study.json').write_text(json.dumps({'base': {'teacher': '~/x'}}))
    run, = helpers.planned_runs(tmp_path, *helpers.data_flags(synthetic))
    assert run.config.teacher == f'{tmp_path}/x' and f'--teacher={tmp_path}/x' in run.arguments
    assert json.loads((tmp_path / 'study.json').read_text()) == {'base': {'teacher': '~/x'}}
    write_run(run)
    assert helpers.planned_runs(tmp_path, *helpers.data_flags(synthetic)) == [run]


@pytest.mark.parametrize('teacher, reason', [
    ('~nonesuch\n/x', r'teacher: no home directory ~nonesuch\\n; a file'),
    ('', 'teacher is empty')])
def test_a_path_that_train_py_would_refuse_is_refused(synthetic, tmp_path, teacher, reason):
    (tmp_path / 'study.json').write_text(json.dumps({'base': {'teacher': teacher}}))
    with pytest.raises(UsageError, match=reason):
        helpers.planned_runs(tmp_path, *helpers.data_flags(synthetic))


def test_hostile_values_stay_in_the_study(synthetic, tmp_path):
    flags = helpers.data_flags(synthetic, '--vary=freeze=../../../x|\x1b|a"\'b$(c)', '--grid')
    for run in helpers.planned_runs(tmp_path, *flags):
        assert os.path.realpath(run.directory).startswith(str(tmp_path / 'runs') + os.sep)
        assert len(os.path.relpath(run.directory, str(tmp_path)).split(os.sep)) == 3
        assert re.match(r'[^\x00-\x1f/]+$', run.label.replace('/', ''))


def write_run(run, **changes):
    """Write a directory as a training of `run` with other settings would."""
    config = json.loads(json.dumps(run.config.to_json()))
    config['recipe'].update(changes)
    runs.create('', '', run.directory)
    runs.write_config(run.directory, type(run.config).from_json(config), {'classes': ['a']})


def test_a_run_of_other_settings_is_named(synthetic, tmp_path):
    flags = helpers.data_flags(synthetic)
    run, = helpers.planned_runs(tmp_path, *flags)
    write_run(run, learning_rate=0.3)
    with pytest.raises(UserError, match='was trained with learning_rate 0.3, not 0.05'):
        helpers.planned_runs(tmp_path, *flags)


def test_a_run_of_another_dataset_is_named(synthetic, tmp_path):
    """Such as a folder that was packed again, or another one."""
    flags = helpers.data_flags(synthetic)
    run, = helpers.planned_runs(tmp_path, *flags)
    write_run(run)
    config, extra = runs.read_config(run.directory)
    assert helpers.planned_runs(tmp_path, *flags) == [run], 'an early run: nothing is known'
    runs.write_config(run.directory, config, dict(extra, dataset_identity=synthetic.identity))
    assert helpers.planned_runs(tmp_path, *flags) == [run]
    runs.write_config(run.directory, config, dict(extra, dataset_identity='a' * 64))
    with pytest.raises(UserError, match='was trained with dataset_identity aaaa'):
        helpers.planned_runs(tmp_path, *flags)


@pytest.mark.parametrize('length', [320, 1280])
def test_a_run_of_another_length_in_images_is_named(synthetic, tmp_path, length):
    flags = helpers.data_flags(synthetic, '--model=tuto', '--recipe=tutorial')
    run, = helpers.planned_runs(tmp_path, *flags, '--train_images=640')
    write_run(run)
    with pytest.raises(UserError, match=f'was trained with train_images 640, not {length}'):
        helpers.planned_runs(tmp_path, *flags, f'--train_images={length}')


def test_a_variant_that_is_left_out_is_named(synthetic, tmp_path, capsys):
    (tmp_path / 'study.json').write_text(json.dumps({'variants': {
        'exported': {'export': 'onnx'}, 'same': {'learning_rate': 0.05}}}))
    planned = helpers.planned_runs(tmp_path, *helpers.data_flags(synthetic))
    assert [run.variant for run in planned] == ['baseline']
    assert [line for line in capsys.readouterr().out.splitlines() if 'left out' in line] == [
        'note: same trains exactly like baseline, so it is left out']


def test_a_run_that_is_longer_than_planned_is_named(synthetic, tmp_path):
    """Its accuracy and those of other seeds would be of two lengths."""
    flags = helpers.data_flags(synthetic)
    run, = helpers.planned_runs(tmp_path, *flags, '--steps=400')
    write_run(run)
    runs.write_status(run.directory, state='done', step=400)
    with pytest.raises(UserError, match='seed1 was trained for 400 steps, more than 200: give '
                       '--steps=400 or more'):
        helpers.planned_runs(tmp_path, *flags, '--steps=200', '--seeds=2')
    runs.write_status(run.directory, state='stopped', step=150)
    assert len(helpers.planned_runs(tmp_path, *flags, '--steps=200', '--seeds=2')) == 2


@pytest.fixture
def processor(monkeypatch):
    """Return processor(bool): say whether this processor has bfloat16."""
    return lambda has_bfloat16: monkeypatch.setattr(
        plan.overrides.engines, 'has_bfloat16', lambda engine: has_bfloat16)


@pytest.mark.parametrize('before', [True, False])
def test_a_study_goes_on_with_another_processor(synthetic, tmp_path, capsys, processor, before):
    flags = helpers.data_flags(synthetic, '--compute_dtype=bfloat16', '--seeds=2')
    processor(before)
    planned = helpers.planned_runs(tmp_path, *flags)
    for run in planned:
        write_run(run)
        runs.write_status(run.directory, state='done', step=20)
    processor(not before)
    capsys.readouterr()
    again = helpers.planned_runs(tmp_path, *flags)
    assert [run.directory for run in again] == [run.directory for run in planned]
    assert 'mixes' not in capsys.readouterr().out, 'all are done'
    helpers.planned_runs(tmp_path, *flags, '--vary=learning_rate=0.2,0.3')
    assert capsys.readouterr().out.count('note: the study mixes bfloat16 and float32') == 1


def test_a_run_of_another_precision_than_the_study_states_is_named(synthetic, tmp_path, processor):
    processor(True)
    flags = helpers.data_flags(synthetic)
    run, = helpers.planned_runs(tmp_path, *flags, '--compute_dtype=bfloat16')
    write_run(run)
    assert len(helpers.planned_runs(tmp_path, *flags)) == 1, 'the study states none'
    with pytest.raises(UserError, match='was trained with compute_dtype bfloat16, not float32'):
        helpers.planned_runs(tmp_path, *flags, '--compute_dtype=float32')


def test_a_run_is_done_when_it_is_as_long_as_planned(synthetic, tmp_path):
    flags = helpers.data_flags(synthetic)
    run, = helpers.planned_runs(tmp_path, *flags)
    assert not run.is_done() and run.step() == 0 and run.accuracies() == []
    write_run(run)
    runs.write_status(run.directory, state='stopped', step=20)
    assert not run.is_done() and run.step() == 20
    runs.write_status(run.directory, state='done', step=run.config.steps)
    assert run.is_done()
    longer, = helpers.planned_runs(tmp_path, *flags, '--steps=40')
    assert not longer.is_done()


def test_a_run_that_patience_ended_is_done_for_that_patience_alone(synthetic, tmp_path):
    flags = helpers.data_flags(synthetic, '--validation=100', '--eval_epochs=1')
    run, = helpers.planned_runs(tmp_path, *flags, '--patience=2')
    write_run(run)
    runs.write_status(run.directory, state='done', step=12)
    assert run.is_done()
    patient, = helpers.planned_runs(tmp_path, *flags, '--patience=9')
    assert patient.directory == run.directory and not patient.is_done()
    # A longer training that was killed before it noted that it runs.
    whole, = helpers.planned_runs(tmp_path, *flags)
    runs.write_config(run.directory, whole.config, {'classes': ['a']})
    assert not whole.is_done()
