"""The json next to a graph."""

import hashlib
import json

import pytest

from permafrost.evaluation.frozen_graphs.reading.model_card import ModelCard, read_model_card


@pytest.mark.parametrize('name, card', [('a.pb', 'a.json'), ('a.tflite', 'a.tflite.json')])
def test_the_title_names_file_model_and_accuracy(tmp_path, name, card):
    path = str(tmp_path / name)
    assert read_model_card(path) == ModelCard() and ModelCard().title(path) == path
    (tmp_path / name).write_bytes(b'12345')
    facts = {'model': 'lenet5\x1b', 'accuracy': 0.81234, 'classes': ['a', 'b'], 'bytes': 5, 'x': 1}
    (tmp_path / card).write_text(json.dumps(facts))
    found = read_model_card(path)
    assert list(found.classes) == ['a', 'b']
    assert found.title(path) == path + ' (lenet5\\x1b, accuracy 0.8123)'
    (tmp_path / name).write_bytes(b'another graph')
    assert read_model_card(path) == ModelCard()


def test_another_graph_of_the_same_size_has_no_card(tmp_path):
    """Two freezes of one model have one size."""
    (tmp_path / 'a.pb').write_bytes(b'12345')
    (tmp_path / 'a.json').write_text(json.dumps(
        {'accuracy': 0.5, 'bytes': 5, 'sha256': hashlib.sha256(b'12345').hexdigest()}))
    assert read_model_card(str(tmp_path / 'a.pb')).accuracy == 0.5
    (tmp_path / 'a.pb').write_bytes(b'54321')
    assert read_model_card(str(tmp_path / 'a.pb')) == ModelCard()


def test_a_slash_after_a_directory_does_not_matter(tmp_path):
    (tmp_path / 'model').mkdir()
    (tmp_path / 'model.json').write_text('{"model": "lenet5"}')
    for path in (str(tmp_path / 'model'), str(tmp_path / 'model') + '/'):
        assert read_model_card(path).model == 'lenet5'


def test_a_saved_model_of_another_graph_has_no_card(tmp_path):
    (tmp_path / 'a').mkdir()
    (tmp_path / 'a.json').write_text(json.dumps(
        {'accuracy': 0.5, 'bytes': 5, 'sha256': hashlib.sha256(b'12345').hexdigest()}))
    for content, accuracy in (b'12345', 0.5), (b'54321', None):
        (tmp_path / 'a' / 'saved_model.pb').write_bytes(content)
        assert read_model_card(str(tmp_path / 'a')).accuracy == accuracy


@pytest.mark.parametrize('text', ['{"accuracy": 7}', '[]', '{', '{"classes": [1]}'])
def test_a_damaged_json_is_a_note(tmp_path, capsys, text):
    (tmp_path / 'a.json').write_text(text)
    assert read_model_card(str(tmp_path / 'a.pb')) == ModelCard()
    output = ''.join(capsys.readouterr())
    assert 'is damaged' in output and output.count('\n') == 1
