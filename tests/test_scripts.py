"""The command lines of all scripts: help, wrong flags, and the usual mistakes with files and runs.

A mistake is one clear line and an exit code, and leaves nothing behind.
"""

import functools
import json
import os
import re
import shutil
import subprocess
import sys

import pytest

from permafrost import runs
from permafrost.errors import UserError
from tests import fuzz_json, in_process
from tests.processes import ROOT
from tests.wording import BANNED

SCRIPTS = ['train.py', 'train_cluster.py', 'eval.py', 'freeze_graph.py', 'info.py', 'compare.py',
           'sweep.py', 'tools/get_data.py', 'tools/local_cluster.py', 'tools/make_tfrecords.py',
           'tools/report.py', 'tools/sample_images.py', 'tools/dev/soak.py',
           'tools/dev/netns_cluster.py', 'tools/dev/fuzz_graphs.py', 'tools/dev/fuzz_eval.py',
           'benchmarks']
NO_FLAGS_OF_OURS = ['tools/doctor.py', 'tools/write_graph.py', 'tools/dev/check_manifests.py']


def error_of(code, *arguments):
    """Return the one line with which a script refuses `arguments`."""
    result = in_process.run(*arguments)
    lines = [line for line in result.stderr.splitlines() if line.startswith('error: ')]
    assert result.code == code and len(lines) == 1, result
    return lines[0]


@pytest.mark.parametrize('script', [each for each in SCRIPTS + ['tools/doctor.py']
                                    if 'dev' not in each and each.endswith('.py')])
def test_a_script_starts_without_naming_python(script):
    with open(os.path.join(ROOT, script)) as stream:
        assert stream.readline() == '#!/usr/bin/env python3\n'
        assert os.access(stream.name, os.X_OK)


def test_every_script_is_in_these_tests():
    scripts = [name for name in os.listdir(ROOT) if name.endswith('.py')]
    for folder in ('tools', 'tools/dev'):
        scripts += [folder + '/' + name for name in os.listdir(os.path.join(ROOT, folder))
                    if name.endswith('.py')]
    assert set(scripts) <= set(SCRIPTS + NO_FLAGS_OF_OURS)


# Help

def own_flags(script):
    """Return the names of the flags that the source of a script defines."""
    path = os.path.join(ROOT, script)
    with open(path if script.endswith('.py') else os.path.join(path, '__main__.py')) as stream:
        return re.findall(r"DEFINE_\w+\(\s*'(\w+)'", stream.read())


@pytest.mark.parametrize('script', SCRIPTS)
def test_help_lists_the_flags_of_the_script_in_plain_english(script):
    result = in_process.run(script, '--help')
    assert result.code == 0 and not result.stderr
    for flag in own_flags(script):
        assert re.search(rf'^  --(\[no\])?{flag}: ', result.stdout, re.MULTILINE), flag
    assert '--verbosity' not in result.stdout, 'a flag of absl'
    assert not BANNED.search(result.stdout), BANNED.search(result.stdout)
    assert in_process.run(script, '-h') == result


@pytest.mark.parametrize('script, flags', [
    ('train.py', ['model', 'recipe', 'set', 'steps', 'seed', 'resume', 'deterministic', 'log_dir',
                  'run', 'dataset', 'data_dir', 'save_steps', 'max_to_keep', 'plot']),
    ('train_cluster.py', ['ps_hosts', 'worker_hosts', 'job_name', 'task_index', 'mode', 'run']),
    ('eval.py', ['run', 'step', 'split', 'weights', 'follow', 'profile', 'data_dir', 'tta', 'node',
                 'output', 'feed', 'image_size', 'input_mean', 'input_std', 'output_kind']),
    ('sweep.py', ['vary', 'grid', 'random', 'search', 'storage', 'seeds', 'parallel', 'dry_run',
                  'template', 'model', 'learning_rate', 'validation', 'deterministic']),
    ('info.py', ['run', 'model', 'all', 'image_size', 'layers', 'json', 'recipes', 'dataset'])])
def test_help_lists_shared_flags(script, flags):
    output = in_process.run(script, '--help').stdout
    for flag in flags:
        assert f'--{flag}:' in output or f'--[no]{flag}:' in output


@pytest.mark.parametrize('script', ['train.py', 'train_cluster.py', 'tools/local_cluster.py',
                                    'info.py', 'tools/sample_images.py', 'tools/get_data.py'])
@pytest.mark.parametrize('flag', ['--dataset', '--data_set'])
def test_both_names_of_the_dataset_flag_work(tmp_path, script, flag):
    arguments = {'train_cluster.py': ['--job_name=worker', '--task_index=0', '--ps_hosts=a:1',
                                      '--worker_hosts=b:1'],
                 'tools/local_cluster.py': ['--evaluator'],  # refused after the flags are read
                 'info.py': ['--model=tuto'],
                 'tools/sample_images.py': [f'--output={tmp_path}/samples']}
    result = in_process.run(script, f'{flag}=cifar11', *arguments.get(script, []))
    assert result.code == 2
    assert 'cifar11' in result.stderr or script == 'tools/local_cluster.py'
    assert 'unknown flag' not in result.stderr


# Wrong flags

@pytest.mark.parametrize('script', SCRIPTS)
def test_a_wrong_flag_fails_at_once(script):
    """In a real process, before the import of TensorFlow, which takes seconds.

    The tools for developers may import it: they are run rarely.
    """
    command = ['-m', script] if not script.endswith('.py') else [script]
    done = subprocess.run([sys.executable, '-X', 'importtime'] + command + ['--no_such_flag=1'],
                          cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, universal_newlines=True, timeout=300)
    assert done.returncode == 2 and not done.stdout
    error = done.stderr.splitlines()[-1]
    assert 'no_such_flag' in error and '--help' in error
    if not script.startswith('tools/dev/'):
        modules = [line.split('|')[-1].strip() for line in done.stderr.splitlines()
                   if line.startswith('import time:')]
        assert 'permafrost.flags' in modules and 'tensorflow' not in modules
        assert len(modules) + 1 == len(done.stderr.splitlines()), 'the error is one line'


def real(*arguments):
    """Mark arguments whose mistake is found only after CIFAR-10 is."""
    return pytest.param(*arguments, marks=pytest.mark.real_data)


MISTAKES = [
    (['train.py', '--model=txto'], "unknown model 'txto'; did you mean tuto? (choose from: alex0,"),
    (['train.py', '--recipe=tutorail'], 'did you mean tutorial? (choose from: cifarnet, davidnet,'),
    (['sweep.py', '--vary=momentum=0.5,0.9'], 'name the directory of the study'),
    (['sweep.py', 'x', '--vary=lr=1,2'], 'did you mean learning_rate?'),
    (['train.py', '--stepps=3'], 'unknown flag --stepps; did you mean --steps?'),
    (['train.py', '--steps=-3'], '--steps=-3'),
    (['train.py', '--steps=many'], '--steps=many'),
    (['train.py', '--save_steps=-1'], '--save_steps=-1'),
    (['train.py', '--source=disk'], 'memory'),
    real(['train.py', '--source=stream', '--deterministic'], '--source=memory'),
    (['train.py', '--set=learning_rte=1'], 'did you mean learning_rate?'),
    (['train.py', '--set=learning_rate=fast'], "'fast' is not a number"),
    (['train.py', '--set=learning_rate'], 'field=value'),
    (['train.py', '--learning_rate', 'fast'], "learning_rate: 'fast' is not a number"),
    (['train.py', '--lr=0.05'], 'use --learning_rate=0.05 ('),
    (['train.py', '--bs', '--steps=3'], 'use --batch_size=... ('),
    (['train_cluster.py', '--wd=1e-4'], 'use --weight_decay=1e-4 ('),
    (['train.py', '--n_epochs=5'], 'use --epochs=5 ('),
    (['train.py', '--momentum=0.9'], 'add --optimizer=momentum'),
    (['train.py', '--freeze=('], 'is not a valid regular expression (missing )'),
    (['train.py', '--freeze=(a+)+'], 'has too many repetitions: use at most four of'),
    (['train.py', '--max_steps=5'], 'use --steps ('),
    (['train.py', '--gpu=0'], 'TensorFlow uses a GPU if it can'),
    (['train.py', '--model=resnet'], ' or resnet20 or '),
    (['train.py', '--run='], '--run is empty'),
    (['train.py', '--output=a.png'], '--output needs --plot or --lr_range_test'),
    (['train.py', '--lr_range_test', '--resume'], 'leave out --resume, and use --init_from RUN'),
    (['train.py', '--plot', '--lr_range_test'], 'plot different charts: give one of them'),
    (['eval.py', '--follow', '--step=5'], 'evaluates every new checkpoint: leave --step out'),
    real(['train.py', '--distillation_weight=0.5'], 'needs a --teacher to learn from'),
    (['train.py', '--set=batch_size=-5'], 'batch_size must be a whole number from 1 to'),
    (['train.py', '--set=image_size=0'], 'image_size must be a whole number from 1 to'),
    (['train.py', '--set=ema_decay=1.5'], 'ema_decay'),
    (['train.py', 'tuto'], "unexpected argument 'tuto'"),
    (['train.py', '--dataset=cifar11'], 'did you mean cifar10?'),
    real(['train.py', '--set=augmentation=crop,flop'], 'did you mean flip?'),
    real(['train.py', '--set=optimizer=sgdd'], 'did you mean sgd?'),
    real(['train.py', '--set=schedule=cosin 5'], 'did you mean cosine?'),
    real(['train.py', '--set=schedule=linear 5'], 'epoch:factor'),
    real(['train.py', '--set=augmentation=cutout:99'], 'does not fit'),
    (['train.py', '--set=decay_mode=couple'], 'did you mean coupled?'),
    (['train.py', '--set=param_groups=beta speed=2'], 'beta'),
    (['train.py', '--set=label_smoothing=2'], 'label_smoothing must be a number from 0 to below 1'),
    (['train.py', '--plot', '--recipe=resnett'], 'did you mean resnet?'),
    (['train.py', '--plot', '--model=davidnett'], 'did you mean davidnet?'),
    (['train.py', '--plot', '--output=no/such/a.png'],
     '--output=no/such/a.png: name a file, in a folder that exists'),
    (['eval.py', '--step=-1'], '--step=-1'),
    (['eval.py', '--split=tset'], 'test'),
    (['eval.py', '--tta=flop'], 'flip_shift'),
    (['eval.py', '--node=x'], '--node needs --graph'),
    (['eval.py', '--crop_size=24'], '--crop_size needs --graph'),
    (['tools/write_graph.py', 'saved'], 'name a SavedModel directory'),
    (['info.py', '--run=runs/a', '--model=tuto'], '--run can be combined with --json only'),
    (['info.py', '--model=tutoo'], 'did you mean tuto?'),
    (['info.py', '--image_size=-4'], 'image_size'),
    (['info.py', '--model=lenet5', '--image_size=8'], 'lenet5'),
    (['benchmarks', 'trainig'], 'did you mean training?'),
    (['benchmarks', 'scaling', '--models=tutu'], 'did you mean tuto?'),
    (['tools/make_tfrecords.py', 'photos'], 'DIR OUT'),
    (['tools/local_cluster.py', '--evaluator', '--model=tuto'], '--evaluator needs --run'),
    (['train_cluster.py', '--ps_hosts=10.0.0..5:2222', '--worker_hosts=localhost:2223',
      '--job_name=worker', '--task_index=0'], '10.0.0..5:2222'),
    (['train_cluster.py', '--ps_hosts=127.0.0.1:2222', '--worker_hosts=127.0.0.1:2223',
      '--job_name=evaluator', '--task_index=0'], '--run'),
]


@pytest.mark.parametrize('arguments, expected', MISTAKES)
def test_a_usage_error_is_one_line_that_names_what_is_valid(
        tmp_path, monkeypatch, arguments, expected):
    monkeypatch.chdir(tmp_path)  # the default folders are relative
    assert expected in error_of(2, *arguments)
    assert not os.listdir(str(tmp_path)), 'a mistake leaves nothing behind'


# Wrong files and runs

@pytest.fixture
def refused_training(tmp_path):
    """refused_training(directory): the error of a training on the data in `directory`."""
    def train(directory, *arguments):
        error = error_of(1, 'train.py', '--dataset=synthetic', f'--data_dir={directory}',
                         f'--log_dir={tmp_path}/runs', '--steps=1', *arguments)
        assert not (tmp_path / 'runs').exists(), 'a mistake leaves nothing behind'
        return error
    return train


def test_a_corrupt_a_short_and_a_missing_data_file_are_named(synthetic, tmp_path, refused_training):
    directory = tmp_path / 'data'
    shutil.copytree(synthetic.directory, str(directory))
    path = directory / 'train_2.bin'
    content = path.read_bytes()
    path.write_bytes(content[:1000] + bytes([content[1000] ^ 1]) + content[1001:])
    assert f'{path}: corrupt' in refused_training(directory)
    path.write_bytes(content[:-1])
    assert f'{path}: too short' in refused_training(directory)
    path.unlink()
    assert f'{path}: missing' in refused_training(directory)


def test_without_data_the_error_says_how_to_get_it(tmp_path):
    error = error_of(1, 'train.py', f'--data_dir={tmp_path}/none', '--steps=1',
                     f'--log_dir={tmp_path}/runs')
    assert 'data_batch_1.bin: missing' in error and 'tools/get_data.py`' in error


def test_a_log_directory_that_cannot_be_created_is_named(synthetic, tmp_path):
    (tmp_path / 'file').write_text('')
    error = error_of(1, 'train.py', '--dataset=synthetic', f'--data_dir={synthetic.directory}',
                     f'--log_dir={tmp_path}/file/runs', '--steps=1')
    assert f'{tmp_path}/file/runs' in error and '--log_dir' in error


def test_a_run_of_something_else_is_not_continued_and_not_changed(synthetic, tmp_path):
    run = tmp_path / 'run'
    data = ['--dataset=synthetic', f'--data_dir={synthetic.directory}', f'--run={run}']
    result = in_process.run('train.py', *data, '--model=squeeze1', '--steps=1',
                            '--set=batch_size=16')
    assert result.code == 0, result
    config = (run / 'config.json').read_text()
    for arguments, code, expected in [
            (['--model=tuto', '--resume'], 2, 'squeeze1'),
            (['--model=tuto'], 1, '--resume'),
            (['--resume', '--seed=5'], 2, '--seed'),
            (['--resume', '--set=learning_rate=0.5'], 2, 'learning_rate is 0.02, not 0.5')]:
        assert expected in error_of(code, 'train.py', *data, *arguments)
    assert (run / 'config.json').read_text() == config
    (run / 'config.json').write_text(config[:50])
    assert 'config.json' in error_of(1, 'eval.py', f'--run={run}')


def test_without_a_run_the_error_says_how_to_make_one(tmp_path):
    assert 'train.py' in error_of(1, 'eval.py', f'--log_dir={tmp_path}')
    assert f'{tmp_path}/none' in error_of(1, 'eval.py', f'--run={tmp_path}/none')


# The config.json of a run, damaged

FIXTURES = os.path.join(ROOT, 'tests', 'fixtures', 'v1')
RUN_SCRIPTS = [['eval.py'], ['freeze_graph.py'], ['train.py', '--resume', '--steps=3']]
MISSING = object()


@pytest.fixture
def damaged_run(tmp_path):
    """damaged_run(content): a run that can be evaluated and resumed but for its config.json."""
    copy = shutil.copytree(FIXTURES, str(tmp_path / 'v1'))
    run = os.path.join(copy, 'runs', 'lenet5', '1')

    def damage(content):
        with open(os.path.join(run, 'config.json'), 'wb') as stream:
            stream.write(content)
        return run
    return damage


@pytest.fixture(scope='module')
def config_json():
    with open(os.path.join(FIXTURES, 'runs', 'lenet5', '1', 'config.json'), 'rb') as stream:
        return stream.read()


def assert_refused(run, scripts=RUN_SCRIPTS):
    """Assert that each of `scripts` refuses the run in one line, and changes nothing."""
    before = sorted(os.listdir(run))
    for script, *flags in scripts:
        error = error_of(1, script, f'--run={run}', *flags)
        assert error.isprintable() and len(error) < 2000
    assert sorted(os.listdir(run)) == before


@pytest.mark.parametrize('damage', [
    lambda content: b'', lambda content: content[:len(content) // 2], lambda content: content[:-2],
    lambda content: bytes(len(content)), lambda content: content.replace(b'lenet5', b'lenet5\0'),
    lambda content: content.replace(b'"steps"', b'"st\0eps"'),
    lambda content: content.replace(b'lenet5', b'lenet\xff'), lambda content: b'[]',
    lambda content: content.replace(b'"seed": 1', b'"seed": 1, "seed": 2'),
    lambda content: b'[' * 100000],
    ids=['empty', 'half', 'cut', 'zeros', 'zero', 'zero in a name', 'no UTF-8', 'list', 'twice',
         'deep'])
def test_a_damaged_config_is_one_line_for_every_script(config_json, damaged_run, damage):
    assert_refused(damaged_run(damage(config_json)))


@pytest.mark.parametrize('place, value', [
    ('config', MISSING), ('config', None), ('config', []), ('classes', MISSING), ('classes', 'abc'),
    ('classes', []), ('classes', [1, 2, 3]), ('versions', {}), ('config.model', MISSING),
    ('config.model', None), ('config.model', 'lenet6'), ('config.model', '../lenet5'),
    ('config.steps', '4'), ('config.steps', -1), ('config.steps', 1e300), ('config.steps', True),
    ('config.seed', float('nan')), ('config.data_dir', 3), ('config.data_dir', 'no\nsuch'),
    ('config.data_set', 'cifar11'), ('config.validation', 1000), ('config.statistics', [1., 2.]),
    ('config.more', 1), ('config.recipe', MISSING), ('config.recipe', 'tutorial'),
    ('config.recipe.more', 1), ('config.recipe.batch_size', 0), ('config.recipe.schedule', 'x 1:2'),
    ('config.recipe.image_size', 1), ('config.recipe.image_size', 33)])
def test_a_wrong_field_of_a_config_is_one_line_for_every_script(
        config_json, damaged_run, place, value):
    assert_refused(damaged_run(changed(config_json, place, value)))


@pytest.mark.parametrize('place, value', [
    ('config.patience', 3), ('config.recipe.distillation_weight', .5)])
def test_fields_that_do_not_go_together_are_one_line_to_resume(
        config_json, damaged_run, place, value):
    assert_refused(damaged_run(changed(config_json, place, value)), RUN_SCRIPTS[2:])


def changed(content, place, value):
    """Return json with another `value`, or none, at a `place` such as 'config.steps'."""
    root = json.loads(content.decode())
    *parents, name = place.split('.')
    parent = functools.reduce(lambda parent, key: parent[key], parents, root)
    parent[name] = value
    if value is MISSING:
        del parent[name]
    return json.dumps(root).encode()


def test_random_mutants_of_a_config_are_one_line_for_every_script(config_json, damaged_run):
    """tests/test_schema.py reads more of them; here are those that are refused."""
    refused = 0
    for mutant in fuzz_json.mutants(config_json, 100, seed=5):
        run = damaged_run(mutant)
        try:
            runs.read_config(run)
        except UserError:
            assert_refused(run)
            refused += 1
    assert refused > 50
