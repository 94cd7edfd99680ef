"""run.sh, with a Python that only records how it is called."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest

from tests.processes import ROOT
from tests.tools.helpers import Checkout, one_line, write_script

STUB = '''
case $1 in
  train.py)
    for signal in TERM INT HUP USR1; do
      trap "echo $signal >> signals; sleep 0.3; echo saved >> signals; exit 43" $signal
    done
    echo "$@" > trained
    [ -z "$TRAIN_CODE" ] || exit $TRAIN_CODE
    i=0  # a minute at most: nothing outlives a test that failed
    while [ -n "$TRAIN_WAITS" ] && [ $((i += 1)) -lt 1200 ]; do sleep 0.05; done ;;
  eval.py)
    echo "$@" > evaluated
    mkdir -p $3/eval/test
    echo "  \\"schedule\\": \\"$SCHEDULE\\"," > $3/config.json
    echo '{"accuracy": 0.1, "step": 1}' > $3/eval/test/metrics.jsonl  # an older one
    echo '{"accuracy": 0.8125, "class_accuracy": [1], "step": 30}' >> $3/eval/test/metrics.jsonl ;;
  freeze_graph.py) echo "$@" > frozen ;;
  tools/sample_images.py)
    mkdir -p $3
    touch $3/0-cat.png $3/1-ship.png ;;
esac
'''


@pytest.fixture
def checkout(tmp_path):
    copy = Checkout(tmp_path, 'run.sh')
    (tmp_path / 'label_image').mkdir()
    for tool in ('flock', 'rmdir'):
        (copy.bin / tool).symlink_to(shutil.which(tool))
    write_script(tmp_path / 'tools/setup.sh', 'exit')
    write_script(tmp_path / '.venv/stub/bin/python', STUB)
    (tmp_path / '.venv/default').symlink_to('stub')
    return copy


def read(checkout, name):
    return (checkout.folder / name).read_text()


@pytest.mark.parametrize('arguments, message', [
    (['tuto', '1.5'], "STEPS must be a positive integer, not '1.5'"),
    (['', '300'], 'an argument is empty: leave it out, or give it a value'),
    ([''], 'an argument is empty'), (['tuto', ''], 'an argument is empty'),
    (['tuto', '0'], 'STEPS'), (['tuto', '-3'], 'STEPS'), (['tuto', '10', 'x'], 'too many')])
def test_wrong_arguments_are_refused(checkout, arguments, message):
    code, _, err = checkout.run('run.sh', *arguments)
    assert code == 2 and message in one_line(err)
    assert not (checkout.folder / 'trained').exists()


def test_an_unknown_model_is_reported_before_the_set_up():
    path = os.path.dirname(sys.executable) + ':' + os.environ['PATH']
    done = subprocess.run(['./run.sh', 'tutoo'], cwd=ROOT, timeout=60, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, universal_newlines=True,
                          env=dict(os.environ, PATH=path, ENGINE='none'))
    assert done.returncode == 2 and 'did you mean tuto?' in one_line(done.stderr)


def test_it_trains_evaluates_and_freezes_one_run(checkout):
    (checkout.folder / 'runs/nin0/1').mkdir(parents=True)
    code, out, err = checkout.run('run.sh', 'nin0', '30')
    assert code == 0, err
    assert read(checkout, 'trained') == 'train.py --model nin0 --steps 30 --run runs/nin0/2\n'
    assert read(checkout, 'evaluated') == 'eval.py --run runs/nin0/2\n'
    assert read(checkout, 'frozen') == (
        'freeze_graph.py --run runs/nin0/2 --output runs/nin0/2/nin0.pb\n')
    assert 'nin0, 30 steps on stub: accuracy 0.8125 on the 10,000 test images' in out
    assert 'runs/nin0/2' in out and 'train longer' not in out
    assert re.search('^  curves +bin/permafrost tensorboard --logdir runs/nin0/2$', out, re.M)
    assert 'relative to' not in out
    help_text = checkout.run('run.sh', '--help')[1]
    assert 'usage:' in help_text and '143' in help_text


def test_two_at_once_have_runs_of_their_own(checkout):
    checkout.environment['TRAIN_WAITS'] = '1'
    first = checkout.start('run.sh', 'nin0')
    while not (checkout.folder / 'trained').exists():
        assert first.poll() is None
        time.sleep(0.02)
    del checkout.environment['TRAIN_WAITS']
    code, _, err = checkout.run('run.sh', 'nin0')
    first.terminate()
    first.communicate(timeout=120)
    assert code == 0, err
    assert read(checkout, 'trained') == 'train.py --model nin0 --run runs/nin0/2\n'
    assert os.listdir(str(checkout.folder / 'runs/nin0')) == ['2'], 'no empty folder is left'


def test_a_folder_of_runs_that_cannot_be_written_is_named(checkout):
    (checkout.folder / 'runs').write_text('')
    code, _, err = checkout.run('run.sh', 'nin0')
    assert code == 1 and one_line(err).endswith('/runs/nin0: make it writable\n')
    assert not (checkout.folder / 'trained').exists()


def test_without_steps_the_recipe_decides(checkout):
    checkout.environment.update(SCHEDULE='constant', PERMAFROST_COMMAND='of another one')
    code, out, err = checkout.run('run.sh', 'nin0')
    assert code == 0, err
    assert read(checkout, 'trained') == 'train.py --model nin0 --run runs/nin0/1\n'
    assert 'bin/permafrost train --model nin0 --run runs/nin0/1 --resume --steps 60' in out


def test_from_another_directory_it_says_where_the_paths_begin(checkout):
    checkout.environment['ENGINE'] = 'stub'
    code, out, err = checkout.run('-c', f'cd / && bash "{checkout.folder}/run.sh" nin0')
    assert code == 0, err
    assert f'\nThe paths below are relative to {checkout.folder}.\n' in out
    assert 'ENGINE=stub bin/permafrost eval --run runs/nin0/1' in out, 'not the default engine'


def test_a_link_to_it_works(checkout, tmp_path):
    (tmp_path / 'links').mkdir()
    (tmp_path / 'links' / 'run').symlink_to('../run.sh')
    code, _, err = checkout.run('links/run', 'tuto', '3')
    assert code == 0, err
    assert 'trained' in os.listdir(str(checkout.folder))


def test_images_are_labelled_if_there_is_a_compiler(checkout):
    write_script(checkout.folder / 'label_image.sh', 'echo "$ENGINE $@" > labelled')
    write_script(checkout.bin / 'make',
                 'echo "label_image: no C++ compiler (g++): apt-get ..."; exit 2')
    code, _, err = checkout.run('run.sh', 'nin0', '30')
    assert code == 0 and 'no image was labelled: label_image: no C++ compiler' in err
    assert not (checkout.folder / 'labelled').exists()
    shutil.rmtree(str(checkout.folder / 'runs'))
    write_script(checkout.bin / 'make', 'exit 0')
    code, _, err = checkout.run('run.sh', 'nin0', '30')
    assert code == 0, err
    assert read(checkout, 'labelled') == (
        'stub runs/nin0/1/nin0.pb runs/nin0/1/samples/0-cat.png runs/nin0/1/samples/1-ship.png\n')


def test_the_exit_code_of_a_failed_training_is_passed_on(checkout):
    checkout.environment['TRAIN_CODE'] = '7'
    assert checkout.run('run.sh')[0] == 7
    assert not (checkout.folder / 'evaluated').exists()


@pytest.mark.parametrize('number', [
    signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1])
def test_a_signalled_training_is_given_time_to_save(checkout, number):
    checkout.environment['TRAIN_WAITS'] = '1'
    process = checkout.start('run.sh')
    deadline = time.time() + 120
    while not (checkout.folder / 'trained').exists():
        assert time.time() < deadline and process.poll() is None
        time.sleep(0.02)
    process.send_signal(number)
    process.communicate(timeout=120)
    assert process.returncode == 43
    # once: a second signal would mean "stop without saving"
    assert read(checkout, 'signals') == f'{number.name[3:]}\nsaved\n'
    assert not (checkout.folder / 'evaluated').exists()


def test_a_signal_right_after_the_fork_reaches_the_training(checkout):
    """When run.sh does not know yet which process that is."""
    (checkout.folder / 'trap.sh').write_text(
        'set -T\n'
        'trap \'case "$BASH_COMMAND ${2-}" in *"child=\\$! train.py") kill $$ ;; esac\' DEBUG\n')
    checkout.environment.update(TRAIN_WAITS='1', BASH_ENV=str(checkout.folder / 'trap.sh'))
    code, _, _ = checkout.run('run.sh')
    assert code in (43, 143)  # before and after the training has its own handler
    assert not (checkout.folder / 'evaluated').exists()
