"""The evaluation that the flags of eval.py describe."""

import os
import shutil
import threading
import time

import pytest

from permafrost import runs
from permafrost.evaluation import command, evaluator
from tests import in_process
from tests.label_image.program import TUTO


def test_the_held_out_images_of_a_graph_are_not_known():
    result = in_process.run('eval.py', '--graph', TUTO, '--split=validation')
    assert result.code == 2 and 'name the run with --run' in result.stderr


@pytest.mark.parametrize('flags', [['a.onnx'], ['a.tflite'], [TUTO, '--runtime=openvino']])
def test_values_of_placeholders_are_for_tensorflow(flags):
    result = in_process.run('eval.py', '--graph', *flags, '--feed=x=1')
    assert result.code == 2 and result.stderr == (
        'error: --feed is for graphs that TensorFlow runs: leave it out\n')


@pytest.mark.parametrize('split', command.SPLITS)
def test_a_missing_run_is_refused_for_each_split(tmp_path, split):
    result = in_process.run('eval.py', f'--run={tmp_path}', f'--split={split}')
    assert result.code == 1 and 'config.json' in result.stderr and not result.stdout


def test_evaluation_returns_the_run_and_its_metrics(tmp_path, run, synthetic):
    result = in_process.run('eval.py', '--run', run, '--batch_size=100', '--step=20')
    assert result.code == 0 and 'step 20: ' in result.stdout
    assert f"of {synthetic.counts['test']} test images correct" in result.stdout


@pytest.mark.parametrize('state', ['done', 'stopped', 'running'])
def test_follow_ends_soon_after_the_training_does(run, synthetic, tmp_path, monkeypatch, state):
    """A training that is killed leaves the state `running`."""
    monkeypatch.setattr(evaluator, 'POLL_SECS', .05)
    copy = shutil.copytree(run, str(tmp_path / 'run'), ignore=shutil.ignore_patterns('eval'))
    runs.write_status(copy, state=state)
    locked, evaluated, ended = threading.Event(), os.path.join(copy, 'eval/test/best.json'), []

    def train():
        with runs.lock(copy):
            locked.set()
            deadline = time.monotonic() + 60
            while not os.path.exists(evaluated) and time.monotonic() < deadline:
                time.sleep(.02)
            time.sleep(.3)  # it waits for the next checkpoint
        ended.append(time.monotonic())

    thread = threading.Thread(target=train)
    thread.start()
    assert locked.wait(60)
    result = in_process.run('eval.py', '--run', copy, '--follow', '--data_dir', synthetic.directory)
    thread.join()
    assert result.code == 0 and 'step 30: ' in result.stdout, result
    assert time.monotonic() - ended[0] < 30


def test_results_are_recorded_in_a_folder(run, synthetic, tmp_path):
    (tmp_path / 'file').write_text('')
    result = in_process.run('eval.py', f'--run={run}', f'--results={tmp_path}/file',
                            f'--data_dir={synthetic.directory}')
    assert result.code == 2 and 'file is a file: name a folder' in result.stderr
    assert 'images correct' not in result.stdout  # refused before it evaluates
    result = in_process.run('eval.py', f'--run={run}', f'--results={tmp_path}', '--split=train')
    assert result.code == 2 and 'records test accuracy: leave out --split' in result.stderr
    assert 'images correct' not in result.stdout


def test_a_run_trained_on_since_it_was_frozen_is_noted_once(run, synthetic, tmp_path):
    copy = str(tmp_path / 'run')
    shutil.copytree(run, copy)
    graph = os.path.join(copy, 'squeeze1.pb')
    shutil.copy(TUTO, graph)
    os.utime(graph, (1, 1))
    result = in_process.run('eval.py', '--graph', copy, '--dataset=synthetic', '--data_dir',
                            synthetic.directory)
    assert result.stderr.count('has been trained on since it was frozen') == 1


def test_the_number_of_classes_to_print_is_for_images(run):
    result = in_process.run('eval.py', '--run', run, '--top=5')
    assert (result.code, result.stderr) == (2, 'error: --top needs --images\n')
