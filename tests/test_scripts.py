"""The usual mistakes: one clear line, the exit code of design, and nothing damaged."""

import os
import shutil

import pytest

from tests import processes


def _refused(code, *arguments):
    """The one line on stderr with which a script refuses `arguments`."""
    output = processes.finish(processes.command(*arguments), code)
    lines = [line for line in output.splitlines() if line.startswith('error: ')]
    assert len(lines) == 1, output
    return lines[0]


@pytest.mark.parametrize('arguments, expected', [
    (['train.py', '--model=txto'], "unknown model 'txto'; did you mean tuto? (there are: alex0,"),
    (['train.py', '--recipe=tutorail'], 'did you mean tutorial? (there are: cifarnet, davidnet,'),
    (['train.py', '--stepps=3'], 'stepps'),
    (['train.py', '--steps=-3'], 'steps'),
    (['train.py', '--steps=many'], 'steps'),
    (['train.py', '--save_steps=-1'], 'save_steps'),
    (['train.py', '--source=disk'], 'memory'),
    pytest.param(['train.py', '--source=stream', '--deterministic'], 'wants --source=memory',
                 marks=pytest.mark.real_data),
    (['train.py', '--set=learning_rte=1'], 'did you mean learning_rate?'),
    (['train.py', '--set=learning_rate=fast'], "'fast' is not a number"),
    (['train.py', '--set=learning_rate'], 'field=value'),
    (['train.py', '--set=batch_size=-5'], 'batch_size must be at least 1'),
    (['train.py', '--set=image_size=0'], 'image_size must be at least 1'),
    (['train.py', '--set=average_decay=1.5'], 'average_decay'),
    (['train.py', 'tuto'], "unexpected argument 'tuto'"),
    (['train.py', '--data_set=cifar11'], 'did you mean cifar10?'),
    pytest.param(['train.py', '--set=augmentation=crop,flop'], 'did you mean flip?',
                 marks=pytest.mark.real_data),
    pytest.param(['train.py', '--set=optimizer=sgdd'], 'did you mean sgd?',
                 marks=pytest.mark.real_data),
    pytest.param(['train.py', '--set=schedule=cosin 5'], 'did you mean cosine?',
                 marks=pytest.mark.real_data),
    pytest.param(['train.py', '--set=schedule=linear 5'], 'epoch:factor',
                 marks=pytest.mark.real_data),
    pytest.param(['train.py', '--set=decay_mode=couple'], 'did you mean coupled?',
                 marks=pytest.mark.real_data),
    pytest.param(['train.py', '--set=augmentation=cutout:99'], 'does not fit',
                 marks=pytest.mark.real_data),
    (['train.py', '--set=rules=beta speed=2'], "write it as 'beta rate=64 decay=1/64'"),
    (['train.py', '--set=label_smoothing=2'], 'label_smoothing must be in [0, 1)'),
    (['train.py', '--plot', '--recipe=resnett'], 'did you mean resnet?'),
    (['train.py', '--plot', '--model=davidnett'], 'did you mean davidnet?'),
    (['eval.py', '--batch_size=0'], 'batch_size'),
    (['eval.py', '--split=tset'], 'test'),
    (['eval.py', '--tta=flop'], 'flip_shift'),
    (['info.py', '--model=tutoo'], 'did you mean tuto?'),
    (['info.py', '--image_size=-4'], 'image_size'),
    (['info.py', '--model=lenet5', '--image_size=8'], 'lenet5 cannot take images of 8x8'),
    (['tools/scaling.py', 'plan', '--workers=4,abc'], 'numbers of workers'),
    (['tools/scaling.py', 'plan', '--models=tutu'], 'did you mean tuto?'),
    (['tools/scaling.py', 'check', '--result=models/__init__.py'], 'is not of'),
    (['tools/local_cluster.py', '--evaluator', '--model=tuto'], '--evaluator needs --run'),
    (['train_cluster.py', '--ps_hosts=10.0.0..5:2222', '--worker_hosts=localhost:2223',
      '--job_name=worker', '--task_index=0'], "'10.0.0..5:2222' is no address"),
    (['train_cluster.py', '--ps_hosts=127.0.0.1:2222', '--worker_hosts=127.0.0.1:2223',
      '--job_name=evaluator', '--task_index=0'], 'the evaluator needs the --run of the chief'),
])
def test_usage_is_exit_2_and_names_what_is_valid(tmp_path, arguments, expected):
    extra = [] if arguments[0] in ('info.py', 'tools/scaling.py') else ['--log_dir=%s' % tmp_path]
    assert expected in _refused(2, *(arguments + extra))
    assert not os.listdir(str(tmp_path)), 'a mistake leaves nothing behind'


def _data(synthetic, tmp_path):
    directory = str(tmp_path / 'data')
    shutil.copytree(synthetic.directory, directory)
    return directory, os.path.join(directory, 'train_2.bin')


def _train(directory, tmp_path):
    return _refused(1, 'train.py', '--data_set=synthetic', '--data_dir=' + directory,
                    '--log_dir=%s' % (tmp_path / 'runs'), '--steps=1')


def test_data_files(synthetic, tmp_path):
    directory, path = _data(synthetic, tmp_path)
    with open(path, 'rb') as stream:
        whole = stream.read()
    with open(path, 'wb') as stream:
        stream.write(whole[:1000] + bytes([whole[1000] ^ 1]) + whole[1001:])
    assert path + ': corrupt' in _train(directory, tmp_path)
    with open(path, 'wb') as stream:
        stream.write(whole[:-1])
    assert path + ': too short' in _train(directory, tmp_path)
    os.remove(path)
    assert path + ': missing' in _train(directory, tmp_path)
    assert not os.path.exists(str(tmp_path / 'runs')), 'a mistake leaves nothing behind'


def test_no_data_at_all(tmp_path):
    line = _refused(1, 'train.py', '--data_dir=%s' % (tmp_path / 'none'), '--steps=1',
                    '--log_dir=%s' % (tmp_path / 'runs'))
    assert 'data_batch_1.bin: missing' in line and 'make data' in line


def test_a_log_directory_that_cannot_be_made(synthetic, tmp_path):
    (tmp_path / 'file').write_text('')
    line = _refused(1, 'train.py', '--data_set=synthetic', '--data_dir=' + synthetic.directory,
                    '--log_dir=%s' % (tmp_path / 'file' / 'runs'), '--steps=1')
    assert 'cannot write to' in line and 'name another --log_dir' in line


def test_a_run_of_something_else(synthetic, tmp_path):
    run = str(tmp_path / 'run')
    processes.finish(processes.training(synthetic, run, '--steps=1'))
    with open(os.path.join(run, 'config.json')) as stream:
        before = stream.read()
    for arguments, code, expected in [
            (['--model=tuto', '--resume'], 2, 'is a run of squeeze1, not of tuto'),
            (['--model=tuto'], 1, 'holds a run already: add --resume'),
            (['--resume', '--seed=5'], 2, 'started with --seed=1, not 5'),
            (['--resume', '--set=learning_rate=0.5'], 2, 'another recipe')]:
        assert expected in _refused(code, 'train.py', '--run=' + run, '--data_set=synthetic',
                                    '--data_dir=' + synthetic.directory, *arguments)
    with open(os.path.join(run, 'config.json')) as stream:
        assert stream.read() == before
    with open(os.path.join(run, 'config.json'), 'w') as stream:
        stream.write(before[:50])
    assert 'is damaged' in _refused(1, 'eval.py', '--run=' + run)


def test_no_run_yet(tmp_path):
    assert 'train one with train.py' in _refused(1, 'eval.py', '--log_dir=%s' % tmp_path)
    assert 'not a run directory' in _refused(1, 'eval.py', '--run=%s' % (tmp_path / 'none'))


@pytest.mark.parametrize('script, flags', [
    ('train.py', ['model', 'recipe', 'set', 'steps', 'seed', 'resume', 'deterministic',
                  'log_dir', 'run', 'data_dir', 'save_steps', 'max_to_keep', 'plot']),
    ('eval.py', ['run', 'step', 'split', 'weights', 'follow', 'profile', 'data_dir', 'tta']),
    ('info.py', ['model', 'all', 'image_size', 'layers', 'json', 'recipes'])])
def test_help_documents_the_flags(script, flags):
    output = processes.finish(processes.command(script, '--help'), 1)  # absl's code for help
    for flag in flags:
        assert '--%s' % flag in output or '--[no]%s' % flag in output
