"""Reasons why an image file cannot be used."""

MAX_PIXELS = 100000000  # as in label_image: a larger size is damage or an attack


class BadImage(Exception):
    """The reason why a file cannot be used, in a few words."""


def check_size(width: int, height: int) -> None:
    """Raise BadImage if an image of this size is empty or too large."""
    if width < 1 or height < 1:
        raise BadImage('the image has no pixels')
    if width * height > MAX_PIXELS:
        raise BadImage(f'an image of {width}x{height} is larger than the limit of '
                       f'{MAX_PIXELS // 10**6} megapixels')
