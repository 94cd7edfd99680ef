"""One-line errors."""

from permafrost import errors


def test_unknown_names_list_the_known_ones_and_the_closest():
    error = errors.unknown_name_error('model', 'tutto', ['tuto', 'alex2'])
    assert str(error) == "unknown model 'tutto'; did you mean tuto? (choose from: alex2, tuto)"
    assert error.exit_code == 2


def test_all_names_that_begin_alike_are_suggested():
    error = errors.unknown_name_error('model', 'resnet', ['tuto', 'resnet56', 'resnet20'])
    assert '; did you mean resnet20 or resnet56? (choose' in str(error)


def test_nothing_is_suggested_for_a_name_that_resembles_none():
    assert 'did you mean' not in str(errors.unknown_name_error('model', 'xyz', ['tuto']))


def test_one_line_joins_lines_and_cuts():
    assert errors.one_line(ValueError('a\n  b\tc')) == 'a b c'
    assert errors.one_line('x' * 300) == 'x' * 200


def test_names_from_files_cannot_write_to_the_terminal():
    assert errors.printable('gr\xfcn \x1b]0;title\x07\n\udce9') == (
        'gr\xfcn \\x1b]0;title\\x07\\n\\udce9')


def test_a_noun_follows_its_number():
    assert [errors.pluralize(number, 'step') for number in (0, 1, 2)] == [
        '0 steps', '1 step', '2 steps']
