"""Places of files that freeze_graph.py refuses."""

import pytest

from permafrost.errors import UsageError, UserError
from permafrost.export.conversion import output_paths


def test_the_description_is_next_to_the_graph(tmp_path):
    path = tmp_path / 'a.json'
    for content in (None, '{"sha256": "x"}'):
        if content:
            path.write_text(content)
        assert output_paths.description_path(str(tmp_path / 'a.pb'), 'tuto') == str(path)


def test_the_teacher_of_a_run_is_not_overwritten(tmp_path):
    path = str(tmp_path / 'teacher.pb')
    assert output_paths.description_path(path, 'tuto') == str(tmp_path / 'teacher.json')  # no run
    (tmp_path / 'config.json').write_text('{}')
    with pytest.raises(UsageError, match="is the name of a run's copy of its teacher: name anoth"):
        output_paths.description_path(path, 'tuto')


def test_wrong_places_are_refused(tmp_path):
    (tmp_path / 'd.pb').mkdir()
    (tmp_path / 'config.json').write_text('{}')
    for name, message in (('a.int8.tflite', 'must end in .pb'), ('.pb', 'must end in .pb'),
                          ('d.pb', 'is a directory: name a file, e.g. .*d.pb/tuto.pb'),
                          ('config.pb', 'config.json would be overwritten')):
        with pytest.raises(UsageError, match=message):
            output_paths.description_path(str(tmp_path / name), 'tuto')
    output_paths.check_new(str(tmp_path / 'new'))
    with pytest.raises(UserError, match='exists: name another --saved_model, e.g. .*/1$'):
        output_paths.check_new(str(tmp_path / 'd.pb'))
