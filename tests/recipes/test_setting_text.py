"""Numbers as text: both ways, and what is not a number."""

import pytest

from permafrost.recipes import setting_text


@pytest.mark.parametrize('text, number', [
    ('3', 3.), ('1e-5', 1e-5), ('1/64', 1 / 64), ('0.004/106', 0.004 / 106), ('-1', -1.)])
def test_numbers_and_quotients_are_read(text, number):
    assert setting_text.parse_number(text) == number


@pytest.mark.parametrize('text', ['', 'fast', '1/0', '1/2/3', 'nan', 'inf', '1/'])
def test_any_other_text_is_an_error(text):
    with pytest.raises(ValueError, match='is not a number'):
        setting_text.parse_number(text)


@pytest.mark.parametrize('text, number', [
    ('10000', 10000), ('1e4', 10000), ('0x2710', 10000), ('-3', -3), ('2.0', 2),
    ('123456789012345678901', 123456789012345678901)])
def test_whole_numbers_may_be_written_in_several_ways(text, number):
    assert setting_text.whole_number(text) == number


@pytest.mark.parametrize('text', ['', '1.5', 'inf', 'nan', '1/2', 'many'])
def test_any_other_text_is_no_whole_number(text):
    with pytest.raises(ValueError, match='not a whole number'):
        setting_text.whole_number(text)


@pytest.mark.parametrize('number, text', [
    (4., '4'), (0.1, '0.1'), (5e-5, '5e-05'), (1 / 3, '0.3333333333333333')])
def test_the_text_of_a_number_is_short_and_exact(number, text):
    assert setting_text.to_text(number) == text and setting_text.parse_number(text) == number
