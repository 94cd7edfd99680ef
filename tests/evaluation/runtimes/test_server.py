"""The protocol between a runtime's child and its client, with a server that has no library."""

import os
import sys
import zipfile

import numpy as np
import pytest

from permafrost.errors import UserError
from permafrost.evaluation.runtimes import client, server

# A server without a network, whose library prints to stdout.
FAKE_SERVER = '''
import os
from permafrost.evaluation.runtimes import server
calls, loads = [], []

def load(path, threads, name):
    loads.append(path)
    print('a line of the library', flush=True)
    if path == 'crash':
        os.write(2, b'first line\\nthe last line\\n')
        os._exit(3)
    if threads > 99:
        raise ValueError('too many\\nthreads')
    unit = 100.0 if name else 1.0
    start = 1000.0 * len(loads) if path.endswith('model') else 0.0
    def bind(array):
        return (lambda: calls.append(array.shape),
                lambda: (array.reshape(len(array), -1)[:, :10] + start + unit * len(calls)).astype(
                        'uint8' if path.endswith('bytes') else 'float32'))
    return bind

server.serve_inference('1.0', load)
'''


@pytest.fixture
def fake(tmp_path, monkeypatch):
    (tmp_path / 'fake_server.py').write_text(FAKE_SERVER)
    monkeypatch.setenv('PYTHONPATH', str(tmp_path))
    monkeypatch.setattr(client, 'python', lambda environment: sys.executable)
    with client.Child('fake_server', 'fake') as child:
        yield child


def test_a_server_answers_although_its_library_prints(fake):
    assert fake.version == '1.0'
    assert fake.ask(load='m', path='p', shape=[2, 4, 4, 3], threads=1) == {}
    answer = fake.ask(time='m', warmup=1, runs=5)
    assert set(answer) == {'median'} and answer['median'] > 0
    with pytest.raises(UserError, match='^fake: too many threads$'):
        fake.ask(load='m', path='p', shape=[1, 4, 4, 3], threads=100)
    assert fake.ask(load='m', path='p', shape=[1, 4, 4, 3], threads=1) == {}  # it goes on


def test_every_image_is_answered_once(fake):
    images = np.random.RandomState(1).randint(0, 256, (25, 4, 4, 3)).astype(np.uint8)
    batch = np.repeat([1, 2, 3], [10, 10, 5])  # calls of run so far
    output = client.predict(fake, 'p', images, batch_size=10)
    assert output.dtype == np.float32
    np.testing.assert_array_equal(output, images.reshape(25, -1)[:, :10] + batch[:, None])


def test_a_model_is_loaded_once_for_all_batches(fake, tmp_path):
    # An evaluation asks for a thousand images at a time, and OpenVINO compiles what it loads.
    path, images = tmp_path / 'model', np.zeros((2, 4, 4, 3), np.uint8)
    path.write_text('1')

    def predicted(**other):
        return client.predict(fake, str(path), images, 2, **other).max() // 1000
    assert [predicted(), predicted(), predicted()] == [1, 1, 1]
    assert predicted(output='probabilities') == 2
    os.utime(str(path), (1, 1))  # another file of the same name
    assert [predicted(output='probabilities'), predicted(output='probabilities')] == [3, 3]


def test_outputs_keep_their_type(fake):
    """Bytes would look like numbers from 0 to 255."""
    images = np.zeros((5, 4, 4, 3), np.uint8)
    assert client.predict(fake, 'bytes', images).dtype == np.uint8


def test_another_output_is_fetched(fake):
    images = np.zeros((5, 4, 4, 3), np.uint8)
    assert client.predict(fake, 'p', images, output='scores').max() == 100
    assert client.predict(fake, 'p', images).max() == 2


def test_class_names_are_attached_to_a_tflite_file(tmp_path):
    path = tmp_path / 'a.tflite'
    path.write_bytes(b'model')
    assert server.tflite_labels(str(path)) == []
    for name, labels in (('other.txt', []), ('labels.txt', ['red', 'ö'])):
        with zipfile.ZipFile(str(path), 'a') as archive:
            archive.writestr(name, 'red\nö\n')
        assert server.tflite_labels(str(path)) == labels


def test_class_names_that_would_inflate_are_not_read(tmp_path, monkeypatch):
    for name, compression in (('deflated', zipfile.ZIP_DEFLATED), ('large', zipfile.ZIP_STORED)):
        path = tmp_path / f'{name}.tflite'
        with zipfile.ZipFile(str(path), 'w', compression) as archive:
            archive.writestr('labels.txt', bytes(server.MAX_LABEL_BYTES + (name == 'large')))
        assert server.tflite_labels(str(path)) == []


def test_a_crash_is_one_line_with_what_the_library_said_last(fake):
    for _ in range(2):  # the second request finds it gone
        with pytest.raises(UserError, match='^fake exited with code 3: the last line .run '
                                            '.venv/fake/bin/python -m fake_server to see more.$'):
            fake.ask(load='m', path='crash', shape=[1, 4, 4, 3], threads=1)
