"""Names of trained models: a path of this name comes first."""

import os

from permafrost.cli import trained_models


def test_a_name_stands_for_the_graph_unless_there_is_such_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert trained_models.path_of('tuto') == os.path.join(trained_models.FOLDER, 'tuto.pb')
    for other in ('./tuto', 'unknown', 'tuto.pb', ''):
        assert trained_models.path_of(other) == other
    (tmp_path / 'tuto').mkdir()  # such as a run
    assert trained_models.path_of('tuto') == 'tuto'


def test_a_model_in_int8_alone_is_found_where_its_file_can_be_read():
    path = trained_models.path_of('davidnet', ('.pb', '.int8.tflite'))
    assert path == os.path.join(trained_models.FOLDER, 'davidnet.int8.tflite')
    assert trained_models.path_of('tuto', ('.pb', '.int8.tflite')).endswith('tuto.pb')
    assert trained_models.path_of('davidnet') == 'davidnet'


def test_every_graph_has_a_name():
    names = trained_models.names()
    assert 'squeeze1' in names and all(map(os.path.isfile, map(trained_models.path_of, names)))
