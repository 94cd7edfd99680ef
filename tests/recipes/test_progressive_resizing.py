"""Progressive resizing as text, with other lengths, and next to the rest of a recipe."""

import pytest

from permafrost.errors import UsageError
from permafrost.recipes import overrides, progressive_resizing
from permafrost.recipes.progressive_resizing import ProgressiveResizing

GROWING = ProgressiveResizing('crop', (0., 4.8), (28, 32))


@pytest.mark.parametrize('value, text', [
    (ProgressiveResizing(), 'none'), (GROWING, 'crop 0:28 4.8:32'),
    (ProgressiveResizing('resize', (0., 2., 5.), (16, 24, 32)), 'resize 0:16 2:24 5:32')])
def test_a_value_and_its_text_are_the_same(value, text):
    assert str(value) == text and progressive_resizing.from_text(text) == value


@pytest.mark.parametrize('text, problem', [
    ('28 32', 'begin with crop or resize'), ('zoom 0:28', 'begin with crop or resize'),
    ('crop', 'epoch:pixels must follow'), ('crop 28', 'epoch:pixels must follow'),
    ('crop 0:28:3', 'epoch:pixels must follow'), ('crop 1:28 2:32', 'must rise from 0'),
    ('crop 0:28 0:32', 'must rise from 0'), ('crop 0:x', 'invalid literal'),
    ('crop x:28', 'not a number'), ('crop 0:0 1:32', 'at least 1 pixel')])
def test_wrong_text_is_one_line_with_an_example(text, problem):
    with pytest.raises(UsageError, match=problem) as caught:
        progressive_resizing.from_text(text)
    assert "Write it as 'crop 0:28 6:32'" in str(caught.value)


def test_a_longer_recipe_changes_sizes_later():
    short = overrides.get_recipe('sprint', ['epochs=8', 'progressive_resizing=crop 0:28 4.8:32'])
    assert short.progressive_resizing == GROWING
    longer = overrides.with_changes(short, ['epochs=10'])
    assert str(longer.progressive_resizing) == 'crop 0:28 6:32'
    assert overrides.with_changes(short, ['progressive_resizing=none']).progressive_resizing == (
        ProgressiveResizing())


@pytest.mark.parametrize('changes, problem', [
    (['progressive_resizing=crop 0:28'], 'must end at image_size=32'),
    (['progressive_resizing=crop 0:40 2:32'], 'must end at image_size=32 and never exceed it'),
    (['image_size=24', 'progressive_resizing=crop 0:28 2:32'], 'must end at image_size=24'),
    (['progressive_resizing=crop 0:28 10:32', 'epochs=10'], 'at epoch 10, and the training ends')])
def test_sizes_must_fit_the_recipe(changes, problem):
    with pytest.raises(UsageError, match=problem):
        overrides.get_recipe('sprint', changes)
