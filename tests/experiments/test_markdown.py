"""Tables and generated blocks of Markdown."""

import pytest

from permafrost.errors import UserError
from permafrost.experiments import markdown

PAGE = 'before\n<!-- a: made by `make readme`, do not edit -->\nold\n<!-- end of a -->\nafter\n'


def test_a_table_has_a_header_and_rows():
    assert markdown.table(['a', 'b'], [['1', '2'], ['3', '4']]) == [
        '| a | b |', '| --- | --- |', '| 1 | 2 |', '| 3 | 4 |']


def test_an_accuracy_has_a_deviation_if_there_are_several_seeds():
    assert markdown.percent(.91234) == '91.23'
    assert markdown.percent(.91234, .0005) == '91.23 ± 0.05'
    assert markdown.percent(.9, 0.) == '90.00 ± 0.00'


def test_columns_are_aligned():
    rows = [['name', 'note', 'n'], ['a', '', '10']]
    assert markdown.aligned(rows) == ['name  note  n', 'a           10']
    assert markdown.aligned(rows, numbers=1) == ['name  note   n', 'a           10']
    assert markdown.aligned([['a', 'b'], ['c', '']]) == ['a  b', 'c']


def test_only_the_block_is_replaced(tmp_path):
    path = tmp_path / 'page.md'
    path.write_text(PAGE)
    for _ in range(2):
        markdown.update_block(str(path), 'a', ['new'])
        assert path.read_text() == PAGE.replace('-->\nold\n', '-->\n\nnew\n\n')


def test_a_page_is_utf_8_in_any_locale(tmp_path, monkeypatch):
    path = tmp_path / 'page.md'
    path.write_text('± ' + PAGE, encoding='utf-8')
    monkeypatch.setattr(markdown, 'open', lambda path, encoding='ascii': open(
        path, encoding=encoding), raising=False)
    markdown.update_block(str(path), 'a', ['new'])
    assert path.read_text(encoding='utf-8').startswith('± before')


def test_markers_must_be_there_once(tmp_path):
    path = tmp_path / 'page.md'
    for text, name, message in (
            ('no markers', 'a', 'must have the lines'), (PAGE + PAGE, 'a', 'must have the lines'),
            (PAGE.replace('end of a', 'end of b'), 'a', 'must have the lines'),
            (PAGE, 'training', 'end of training')):
        path.write_text(text)
        with pytest.raises(UserError, match=message):
            markdown.update_block(str(path), name, [])


def test_a_stale_page_is_reported_and_not_changed(tmp_path):
    path = tmp_path / 'page.md'
    path.write_text(PAGE)
    with pytest.raises(UserError, match='stale: run make readme'):
        markdown.update_block(str(path), 'a', ['new'], check=True)
    assert path.read_text() == PAGE
    markdown.update_block(str(path), 'a', ['new'])
    assert 'new' in path.read_text()
    markdown.update_block(str(path), 'a', ['new'], check=True)
