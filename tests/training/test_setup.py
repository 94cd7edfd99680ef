"""From flags to a TrainSetup: new runs, resumed runs and mistakes."""

import functools
import os
import shutil
import subprocess
import sys
import types
from unittest import mock

import pytest
from absl import flags as absl_flags

from permafrost import engines, files, flags, runs
from permafrost.datasets import loading
from permafrost.datasets.synthetic import make_synthetic
from permafrost.errors import UsageError, UserError
from permafrost.training import setup
from tests import networks
from tests.processes import ROOT


@pytest.fixture
def prepare(synthetic, tmp_path):
    """Return prepare(*arguments): prepare_training with the flags of train.py, and a log_dir."""
    def parse(*arguments, **options):
        values = absl_flags.FlagValues()
        define = {name: functools.partial(getattr(absl_flags, name), flag_values=values)
                  for name in dir(absl_flags) if name.startswith('DEFINE_')}
        with mock.patch.object(flags, 'flags', types.SimpleNamespace(**define)):
            flags.define_train_flags()
        values(['train.py', '--dataset=synthetic', f'--data_dir={synthetic.directory}',
                f'--log_dir={tmp_path}', *map(str, arguments)])
        return setup.prepare_training(values, **options)
    return parse


@pytest.fixture(scope='module')
def lenet5_run(synthetic, tmp_path_factory):
    """The directory of a run of lenet5 that has only its config.json. Tests must not change it."""
    run = str(tmp_path_factory.mktemp('runs') / 'run')
    runs.create('', 'lenet5', run)
    runs.write_config(run, networks.train_setup(synthetic, run, 20, 'lenet5').config,
                      {'classes': list(synthetic.classes)})
    return run


def test_a_new_run_takes_the_flags_and_the_dataset(prepare, synthetic, tmp_path, capsys):
    train_setup = prepare('--model=lenet5', '--steps=7', '--seed=3', '--set=batch_size=64')
    config = train_setup.config
    assert (config.model, config.steps, config.seed) == ('lenet5', 7, 3)
    assert config.recipe.name == 'lenet5' and config.recipe.batch_size == 64
    assert (config.dataset, config.data_dir) == ('synthetic', synthetic.directory)
    assert config.train_images == 640 and train_setup.dataset.identity == synthetic.identity
    assert 'recipe: lenet5 (default for lenet5), batch_size=64 (not 128), 7 steps\n' in (
        capsys.readouterr().out)
    assert os.listdir(str(tmp_path)) == []  # nothing is created until the graph is built
    assert train_setup.open_run() == str(tmp_path / 'lenet5' / '1')
    assert train_setup.open_run() == str(tmp_path / 'lenet5' / '2')


def test_notes_say_what_the_recipe_does_with_the_images_and_the_schedule(prepare, tmp_path, capsys):
    prepare('--model=lenet5', '--recipe=lenet5', '--set=image_size=16', '--steps=7')
    output = capsys.readouterr().out
    assert 'recipe: lenet5, image_size=16 (not 32), 7 steps\n' in output
    assert 'note: the recipe crops images of 32x32 to 16x16 (--image_size=N' in output
    assert 'note: --steps=7 cuts the schedule of ' in output
    note = 'note: crop has no effect on images of 32x32: use pad_crop:4 or a smaller --image_size'
    prepare('--model=lenet5', '--augmentation=crop,flip')
    assert note in capsys.readouterr().out
    prepare('--model=lenet5', '--augmentation=crop,flip', '--image_size=28')
    assert 'no effect' not in capsys.readouterr().out
    run = prepare('--model=lenet5', '--set=image_size=12', f'--run={tmp_path}/run')
    runs.create('', 'lenet5', run.run)
    runs.write_config(run.run, run.config, {'classes': list(run.dataset.classes)})
    capsys.readouterr()
    prepare(f'--run={tmp_path}/run', '--resume')  # which refuses another --image_size
    assert 'note: ' not in capsys.readouterr().out
    prepare('--model=lenet5', '--steps=9999')
    assert 'note: --steps=9999 continues after the schedule of ' in capsys.readouterr().out


@pytest.mark.parametrize('settings, steps, note', [
    (['quantization_aware_epochs=1'], 15, 'ends before quantization-aware training begins at '
     'step 15;'),
    (['quantization_aware_epochs=1'], 16, ''),
    (['ema_epochs=1'], 15, 'ends before the averages start at step 15;'),
    (['ema_epochs=1'], 16, ''),
    (['sparsity=0.5', 'prune_epochs=3'], 14, 'ends before the sparsity is reached at step 15;'),
    (['structured_sparsity=0.5', 'prune_epochs=3'], 15, ''),
    (['progressive_resizing=crop 0:16 3:24'], 15, 'ends before the full image size is reached at '
     'step 15;'),
    (['progressive_resizing=crop 0:16 3:24'], 16, '')])
def test_a_note_says_which_compression_the_steps_leave_out(settings, steps, note, prepare, capsys):
    prepare('--model=tuto', f'--steps={steps}', *(
        f'--set={setting}' for setting in ['batch_size=128', 'epochs=4', *settings]))
    output = capsys.readouterr().out
    assert (note in output) if note else 'note: --steps' not in output


@pytest.mark.parametrize('arguments, message', [
    (['--model=txto'], "unknown model 'txto'; did you mean tuto?"),
    (['--recipe=tutorail'], 'did you mean tutorial?'),
    (['--set=batch_size=0'], 'batch_size'),
    (['--model=lenet5', '--eval_epochs=nan'], 'eval_epochs must be a number, 0 or more, not nan'),
    (['--model=lenet5', '--eval_epochs=inf'], 'eval_epochs must be a number, 0 or more, not inf'),
    (['--model=lenet5', '--freeze=' + 'a' * 201], 'freeze must be a regular expression'),
    (['--source=stream', '--augmentation=alternate_flip'],
     'alternate_flip counts the epochs of each image: use --source=memory, or flip instead'),
    (['--source=stream', '--deterministic'],
     '--deterministic needs --source=memory: with --source=stream the shuffle order depends on '
     'thread timing')])
def test_a_wrong_flag_leaves_nothing_behind(prepare, tmp_path, arguments, message):
    with pytest.raises(UsageError) as error:
        prepare(*arguments)
    assert message in str(error.value)
    assert os.listdir(str(tmp_path)) == []


def test_a_wrong_flag_fails_before_tensorflow_is_imported():
    script = ('import runpy, sys\n'
              'sys.argv = ["train.py", "--model=nonsense"]\n'
              'try:\n'
              '    runpy.run_path("train.py", run_name="__main__")\n'
              'finally:\n'
              '    assert "tensorflow" not in sys.modules, "imported"\n')
    process = subprocess.run([sys.executable, '-c', script], cwd=ROOT, stderr=subprocess.PIPE,
                             universal_newlines=True)
    assert process.returncode == 2 and "unknown model 'nonsense'" in process.stderr
    assert 'imported' not in process.stderr


def test_a_run_is_only_continued_with_resume(prepare, lenet5_run):
    with pytest.raises(UserError, match='already contains a run: add --resume to continue it'):
        prepare('--model=lenet5', f'--run={lenet5_run}')
    train_setup = prepare('--model=lenet5', f'--run={lenet5_run}', '--resume', '--steps=30')
    assert train_setup.config.steps == 30 and train_setup.config.recipe.batch_size == 32
    assert train_setup.open_run() == lenet5_run


@pytest.mark.parametrize('arguments, message', [
    (['--model=tuto'], 'is a run of lenet5, not of tuto: name another --run'),
    (['--model=lenet5', '--seed=5'], '--seed=1, not 5'),
    (['--model=lenet5', '--set=learning_rate=0.5', '--set=augmentation=flip,crop'],
     'a different recipe (augmentation is crop,flip,brightness,contrast, not flip,crop; '
     'learning_rate is 0.05, not 0.5): start another run, or leave these flags out'),
    (['--schedule=linear 0:1 9:0'], 'schedule is constant, not linear 0:1 9:0'),
    (['--recipe=tutorial'], 'a different recipe (batch_size is 32, not 128; learning_rate is 0.05'),
    (['--model=lenet5', '--dataset=cifar100'], '--dataset=synthetic, not cifar100')])
def test_a_resumed_run_trains_the_same(prepare, lenet5_run, arguments, message):
    with pytest.raises(UsageError) as error:
        prepare(f'--run={lenet5_run}', '--resume', *arguments)
    assert message in str(error.value)


@pytest.mark.parametrize('has_bfloat16, flags_of_run, expected', [
    (True, [], 'bfloat16'), (False, [], 'float32'),
    (True, ['--batch_size=32', '--learning_rate=0.05'], 'bfloat16'),
    (True, ['--batch_size=32', '--learning_rate=0.05', '--compute_dtype=float32'], 'float32')])
def test_a_bfloat16_run_goes_on_in_float32_where_bfloat16_is_missing_or_if_told_to(
        has_bfloat16, flags_of_run, expected, prepare, lenet5_run, tmp_path, monkeypatch, capsys):
    run = str(tmp_path / 'run')
    shutil.copytree(lenet5_run, run)
    path = os.path.join(run, 'config.json')
    value = files.read_json(path)
    value['config']['recipe']['compute_dtype'] = 'bfloat16'
    files.write_json(path, value)
    monkeypatch.setattr(engines, 'has_bfloat16', lambda engine: has_bfloat16)
    config = prepare(f'--run={run}', '--resume', *flags_of_run).config
    assert config.recipe.compute_dtype == expected and config.recipe.batch_size == 32
    assert ('note: training in float32, because bfloat16 needs tf2' in capsys.readouterr().out) == (
        not has_bfloat16)


def test_a_resumed_run_finds_its_dataset_in_another_directory(prepare, lenet5_run, tmp_path):
    moved = str(tmp_path / 'moved')
    make_synthetic(moved)
    train_setup = prepare('--model=lenet5', '--resume', f'--run={lenet5_run}',
                          f'--data_dir={moved}')
    assert train_setup.config.data_dir == moved == train_setup.dataset.directory


def test_resume_without_a_name_continues_the_latest_run_of_the_model(
        prepare, lenet5_run, tmp_path, capsys):
    train_setup = prepare('--model=lenet5', '--resume')
    assert f'nothing to resume in {tmp_path}/lenet5: starting a new run\n' in (
        capsys.readouterr().out)
    assert not train_setup.resume
    shutil.copytree(lenet5_run, str(tmp_path / 'lenet5' / '7'))
    assert prepare('--model=lenet5', '--resume').open_run() == str(tmp_path / 'lenet5' / '7')
    assert not prepare('--model=tuto', '--resume').resume


def test_resume_alone_continues_the_run_that_was_used_last_of_any_model(
        prepare, lenet5_run, tmp_path, capsys):
    with pytest.raises(UserError, match=f'no run in {tmp_path} to resume: name one with --run'):
        prepare('--resume')
    shutil.copytree(lenet5_run, str(tmp_path / 'lenet5' / '7'))
    train_setup = prepare('--resume', '--steps=21')
    assert train_setup.open_run() == str(tmp_path / 'lenet5' / '7')
    assert train_setup.config.model == 'lenet5'
    assert f'resuming {tmp_path}/lenet5/7: lenet5, recipe tutorial, ' in capsys.readouterr().out


def test_a_run_that_is_named_is_started_or_continued_by_one_command(prepare, tmp_path, capsys):
    """So that a restart policy can use it."""
    train_setup = prepare('--resume', f'--run={tmp_path}/mine')
    assert not train_setup.resume and train_setup.config.model == 'tuto'
    assert f'nothing to resume in {tmp_path}/mine: starting a new run' in capsys.readouterr().out


def test_a_worker_that_cannot_see_the_run_starts_none(prepare, tmp_path, capsys):
    prepare('--resume', f'--run={tmp_path}/mine', is_chief=False)
    output = capsys.readouterr().out
    assert f'note: no run in {tmp_path}/mine here: joining the chief' in output
    assert 'new run' not in output


def test_held_out_images_shorten_the_epoch(prepare, synthetic):
    train_setup = prepare('--model=lenet5', '--validation=140', '--seed=3', '--set=epochs=2',
                          '--set=batch_size=50')
    config, data = train_setup.config, train_setup.dataset
    assert (config.validation, config.train_images, config.steps) == (140, 500, 20)
    assert data.counts == {'train': 500, 'test': 500, 'validation': 140}
    assert data == loading.open_for_run(config)
    assert data.held_out != prepare('--validation=140', '--seed=4').dataset.held_out
    with pytest.raises(UsageError, match='--validation=640 leaves none of the 640'):
        prepare('--validation=640')


def test_evaluations_are_at_least_10000_images_apart(prepare):
    assert prepare().config.eval_epochs == 16.  # of 640 images
    assert prepare('--eval_epochs=0.5').config.eval_epochs == .5
    assert prepare('--eval_epochs=0').config.eval_epochs == 0
    assert [setup._eval_epochs(types.SimpleNamespace(eval_epochs=None), images)
            for images in (50000, 10000, 9999, 1)] == [1., 1., 2., 10000.]


def test_patience_needs_evaluations_of_held_out_images(prepare):
    assert prepare('--patience=3', '--validation=100').config.patience == 3
    with pytest.raises(UsageError, match='--patience needs --validation'):
        prepare('--patience=3')
    with pytest.raises(UsageError, match='--patience needs evaluations: leave out --eval_epochs=0'):
        prepare('--patience=3', '--validation=100', '--eval_epochs=0')


def test_a_resumed_run_may_change_when_it_is_evaluated_but_not_on_what(
        prepare, synthetic, tmp_path):
    run = str(tmp_path / 'run')
    runs.create('', 'lenet5', run)
    started = prepare('--model=lenet5', '--validation=100')
    runs.write_config(run, started.config, {'classes': list(synthetic.classes)})
    resumed = prepare(f'--run={run}', '--resume', '--eval_epochs=2', '--patience=4')
    assert (resumed.config.eval_epochs, resumed.config.patience) == (2., 4)
    assert resumed.dataset == started.dataset
    with pytest.raises(UsageError, match='started with --validation=100, not 200'):
        prepare(f'--run={run}', '--resume', '--validation=200')


def test_flags_of_fields_change_the_recipe_of_a_new_run(prepare, capsys):
    config = prepare('--model=lenet5', '--learning_rate=1/8', '--epochs=2', '--set=batch_size=64',
                     '--init_from=a', '--freeze=conv1', '--teacher=b').config
    assert config.recipe.learning_rate == 0.125 and config.steps == 20
    assert (config.init_from, config.freeze, config.teacher) == ('a', 'conv1', 'b')
    assert config.train_images == 640
    assert 'learning_rate=0.125 (not 0.05)' in capsys.readouterr().out


def test_the_recipe_of_a_run_is_named_as_it_is(prepare, lenet5_run, tmp_path, capsys):
    path = tmp_path / 'mine.json'
    path.write_text('{"name": "mine", "epochs": 4}')
    recipe = prepare('--model=lenet5', f'--recipe={lenet5_run}', '--batch_size=8').config.recipe
    assert recipe.name == 'tutorial' and recipe.batch_size == 8 and recipe.learning_rate == 0.05
    prepare('--model=lenet5', f'--recipe={path}', '--batch_size=8')  # it may be misspelt
    assert (f'recipe: mine (from {path}; not in the catalog), batch_size=8 (not 128), 320 steps' in
            capsys.readouterr().out)


def test_a_resumed_run_may_repeat_its_length(prepare, synthetic, tmp_path):
    """Its schedule has been rescaled to it, or has more digits than a rescaled one."""
    changed = ['--epochs=5', '--schedule=one_cycle 1.2345678']
    for name, flags_of_run in (('one', changed), ('two', changed[:1])):
        run = str(tmp_path / name)
        runs.create('', 'lenet5', run)
        config = prepare('--model=lenet5', '--recipe=davidnet', *flags_of_run).config
        runs.write_config(run, config, {'classes': list(synthetic.classes)})
        resume = ['--resume', f'--run={run}']
        assert prepare(*resume, '--epochs=5').config.recipe == config.recipe
        assert prepare(*resume, *flags_of_run).config.recipe == config.recipe
        with pytest.raises(UsageError, match=r'a different recipe \(epochs is 5, not 6'):
            prepare(*resume, '--epochs=6')


def test_a_resumed_run_may_repeat_the_flags_of_its_recipe(prepare, lenet5_run):
    recipe = f'--recipe={lenet5_run}'  # batch_size=32, learning_rate=0.05
    run = ['--resume', f'--run={lenet5_run}']
    for same in (['--batch_size=32', '--learning_rate=0.05'], ['--batch_size=32'], [recipe],
                 ['--set=images=1280000'], ['--train_images=1280000', '--learning_rate=0.05']):
        assert prepare(*run, *same).config.recipe.batch_size == 32
    for other, message in (
            (['--batch_size=64'], r'a different recipe \(batch_size is 32, not 64\)'),
            (['--set=images=9'], r'a different recipe \(train_images is 1280000, not 9\)'),
            ([recipe, '--momentum=0.5', '--optimizer=momentum'], 'a different recipe')):
        with pytest.raises(UsageError, match=message):
            prepare(*run, *other)
    for other in ('--freeze=conv', '--init_from=a', '--teacher=a'):
        with pytest.raises(UsageError, match=f'started without {other.split("=")[0]}: start'):
            prepare(*run, other)


def test_a_setting_without_effect_is_noted(prepare, capsys):
    prepare('--model=lenet5', '--ema_epochs=3')
    assert 'note: ema_epochs has no effect without an average: add --' in capsys.readouterr().out
    prepare('--recipe=sprint', '--ema_decay=0')  # its ema_epochs are its own
    assert 'no effect' not in capsys.readouterr().out


def test_images_that_are_held_out_for_nothing_are_noted(prepare, capsys):
    note = ('note: --eval_epochs=0 evaluates nothing on the 100 images that --validation holds '
            'out: there will be no best checkpoint\n')
    prepare('--validation=100')
    assert note not in capsys.readouterr().out
    prepare('--validation=100', '--eval_epochs=0')
    assert note in capsys.readouterr().out


def test_one_step_is_no_steps(prepare, capsys):
    prepare('--recipe=davidnet', '--steps=2', '--epochs=1', '--batch_size=640',
            '--schedule=linear 0:1 1:0.5')
    output = capsys.readouterr().out
    assert 'continues after the schedule of 1 step, at' in output and ', 2 steps\n' in output


@pytest.mark.parametrize('flag', ['init_from', 'teacher'])
def test_a_file_to_begin_with_is_looked_for_first(flag, prepare, tmp_path):
    for source in (str(tmp_path), 'tuto'):
        setup.check_sources(prepare(f'--{flag}={source}'))
    train_setup = prepare(f'--{flag}=nope')
    with pytest.raises(UserError, match="^no run, graph or model named 'nope': name a run "
                                        f'directory, .*, tuto, .* with --{flag}$'):
        setup.check_sources(train_setup)
    setup.check_sources(train_setup._replace(resume=True))  # it has a checkpoint, or a copy
