"""The runtimes: each has a server and an environment."""

import os
import subprocess
import sys

import numpy as np
import pytest

from permafrost.errors import UsageError, UserError
from permafrost.evaluation.runtimes import client
from tests.evaluation.runtimes.environments import needs
from tests.processes import ROOT


@pytest.mark.parametrize('name', client.RUNTIMES)
def test_a_runtime_has_a_server_and_an_environment(name):
    folder = os.path.dirname(client.__file__)
    assert os.path.exists(os.path.join(folder, name + '_server.py'))
    assert os.path.exists(os.path.join(ROOT, 'requirements', name + '.txt'))
    done = subprocess.run(
        [os.path.join(ROOT, 'tools', 'setup.sh'), name], stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True, timeout=60,
        env=dict(os.environ, PERMAFROST_CACHE='/dev/null'))  # known, but nowhere to build it
    assert 'unknown engine' not in done.stdout


def test_an_environment_that_cannot_be_built_is_one_line(monkeypatch):
    monkeypatch.setattr(client, 'ROOT', '/nowhere')
    monkeypatch.setattr(client.subprocess, 'call', lambda command, stdin: 1)
    with pytest.raises(UserError, match='needs the environment litert: fix what tools/setup.sh'):
        client.python('litert')


@pytest.mark.parametrize('name, suffix', [pytest.param(name, suffix, marks=needs(name))
                                          for suffix, name in client.RUNTIME_OF.items()])
def test_a_damaged_file_is_one_line(name, suffix, tmp_path):
    path = tmp_path / ('damaged' + suffix)
    path.write_bytes(b'\x1c\0\0\0TFL3' + bytes(range(200)))
    with client.runtime(name) as child:
        assert child.version[0].isdigit()
        with pytest.raises(UserError, match=name) as error:
            client.predict(child, str(path), np.zeros((1, 4, 4, 3), np.uint8))
    assert '\n' not in str(error.value)


def test_a_child_that_has_crashed_does_not_run(tmp_path, monkeypatch):
    (tmp_path / 'crash.py').write_text(
        'import os\nprint(\'{"version": "1"}\', flush=True)\ninput()\nos.abort()\n')
    monkeypatch.setattr(client, 'python', lambda environment: sys.executable)
    with client.Child('crash', 'mine', PYTHONPATH=str(tmp_path)) as child:
        assert child.is_running
        with pytest.raises(UserError, match='^mine exited with code -6: '):
            child.ask(predict='a')
        assert not child.is_running


@pytest.mark.parametrize('path, stated, expected', [
    ('a.pb', None, 'tensorflow'), ('a', None, 'tensorflow'), ('a.onnx', None, 'onnxruntime'),
    ('a.tflite', 'litert', 'litert'), ('a.tflite', 'openvino', 'openvino'),
    ('a.pb', 'openvino', 'openvino'), ('a.onnx', 'openvino', 'openvino')])
def test_the_suffix_or_the_user_chooses_the_runtime(path, stated, expected):
    assert client.runtime_of(path, stated) == expected


@pytest.mark.parametrize('path, stated, hint', [
    ('a.onnx', 'litert', '--runtime=onnxruntime or openvino'), ('saved', 'openvino', 'tensorflow$'),
    ('a.tflite', 'tensorflow', '--runtime=litert or openvino')])
def test_a_runtime_that_does_not_run_a_file_is_refused(path, stated, hint):
    with pytest.raises(UsageError, match=f"{stated} does not run '{path}': use .*{hint}"):
        client.runtime_of(path, stated)


def test_images_that_do_not_fit_on_the_disk_are_one_line(tmp_path):
    (tmp_path / 'full.npy').symlink_to('/dev/full')
    with pytest.raises(UserError, match='cannot write 4 MB to .*: free disk space, or set TMPDIR'):
        client.save(str(tmp_path / 'full.npy'), np.zeros(1000000, np.float32))
