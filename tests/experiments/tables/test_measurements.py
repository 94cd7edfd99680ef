"""How tables write numbers."""

import pytest

from permafrost import files
from permafrost.errors import UserError
from permafrost.experiments.tables import measurements
from permafrost.experiments.tables.inference import InferenceFile


def test_numbers_have_three_digits_or_are_whole():
    assert [measurements.short(value) for value in (None, .1234, 99.94, 99.97, 1234.5)] == [
        '–', '0.123', '99.9', '100', '1234']


def test_a_file_is_optional_but_not_damaged(tmp_path):
    assert measurements.read(str(tmp_path), 'a.json', InferenceFile) == {}
    files.write_json(str(tmp_path / 'a.json'), {'graphs': {}, 'figures': {'a': {}}})
    with pytest.raises(UserError, match='a.json is damaged .*figures.a.median is missing'):
        measurements.read(str(tmp_path), 'a.json', InferenceFile)
