"""Files that are no frozen graph: each is recognized by its content, whatever its name."""

import os
import zipfile

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from permafrost.cli import trained_models
from permafrost.errors import UserError
from permafrost.evaluation.frozen_graphs import file_kinds


def write_files(directory):
    """Write a file or folder of each kind into `directory`; return {path: part of its message}."""
    def path(name):
        return os.path.join(str(directory), name)

    def write(name, content):
        with open(path(name), 'wb') as stream:
            stream.write(content)

    with tf.Graph().as_default(), tf.Session() as session:
        x = tf.placeholder(tf.float32, [None, 2], name='x')
        y = tf.identity(x * tf.get_variable('w', [2]), name='y')
        session.run(tf.global_variables_initializer())
        tf.train.Saver().save(session, path('model.ckpt'))
        tf.saved_model.simple_save(session, path('saved'), {'x': x}, {'y': y})
    for name in ('model.keras', 'model.pt'):
        with zipfile.ZipFile(path(name), 'w') as archive:
            archive.writestr({'model.keras': 'metadata.json', 'model.pt': 'archive/data.pkl'}[name],
                             '{}')
    os.makedirs(path('run/train'))
    write('run/config.json', b'{}')
    os.makedirs(path('folder'))
    write('nothing', b'')
    write('photo.PB', b'\x89PNG\r\n\x1a\n')
    write('lite.pb', b'\x1c\0\0\0TFL3' + bytes(50))
    write('model.h5', b'\x89HDF\r\n\x1a\n' + bytes(50))
    write('onnx.pb', b'\x08\x08\x12\x07pytorch' + bytes(50))
    write('frozen.pb.gz', b'\x1f\x8b\x08' + bytes(50))
    write('model.pkl', b'\x80\x02}q\x00.')
    write('model.safetensors', np.uint64(40).tobytes() + b'{"w":{"dtype":"F32"}}')
    write('graph.json', b'{"nodes": []}')
    write('notes', b'see the other file\n')
    return {path(name): text for name, text in {
        'model.ckpt.meta': 'is a MetaGraph', 'model.ckpt.index': 'is the index of a checkpoint',
        'saved/saved_model.pb': 'is the file of a SavedModel', 'model.keras': 'is a Keras model',
        'model.pt': 'is a PyTorch model', 'run': 'is a run:', 'folder': 'is a directory',
        'nothing': 'is empty', 'photo.PB': 'is an image (PNG)',
        'lite.pb': 'is a TensorFlow Lite model', 'model.h5': 'is a Keras model or its weights',
        'onnx.pb': 'is an ONNX model', 'frozen.pb.gz': 'gunzip', 'model.pkl': 'pickle',
        'model.safetensors': 'contains only weights (safetensors)', 'graph.json': 'is a JSON file',
        'notes': 'is a text file'}.items()}


def test_each_kind_is_named_with_what_to_do(tmp_path):
    for path, text in write_files(tmp_path).items():
        with pytest.raises(UserError, match='is not a frozen graph: it ') as error:
            file_kinds.check_graph_file(path)
        assert text in str(error.value) and '\n' not in str(error.value), path


@pytest.mark.parametrize('name, content', [
    ('a.tflite', b'\x1c\0\0\0TFL3' + bytes(50)),
    ('a.onnx', b'\x08\x08\x12\x07pytorch' + bytes(50))])
def test_a_file_for_another_runtime_is_refused_with_advice(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=' model: name the .pb file that it was made from$'):
        file_kinds.check_graph_file(str(tmp_path / name))


def test_frozen_graphs_pass(tmp_path):
    graph = tf.GraphDef(node=[tf.NodeDef(name='a' * 200, op='NoOp'), tf.NodeDef(name='b', op='B')])
    (tmp_path / 'graph').write_bytes(graph.SerializeToString())
    file_kinds.check_graph_file(str(tmp_path / 'graph'))


def test_a_trained_model_has_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert file_kinds.graph_file('tuto') == os.path.join(trained_models.FOLDER, 'tuto.pb')
    assert file_kinds.graph_file('tutu') == 'tutu'
