"""Layout: in which order a graph receives the numbers of an image, as the shape of its input says.

label_image/feeding/layout.cc has the same rules.
"""

import math
from typing import List, NamedTuple, Optional, Sequence

import numpy as np

MAX_SIDE = 10000  # pixels
MAX_BATCH = 100000  # images
# The weights of red, green and blue in grey, as in ITU-R BT.601 and Pillow; their sum is 2 ** 16.
LUMINANCE = (19595, 38470, 7471)

Shape = Optional[List[Optional[int]]]  # None: unknown, also of a dimension


class Layout(NamedTuple):
    """The form of one image, and whether there is a dimension for the number of images."""
    order: str = 'HWC'  # of the dimensions; HW: grey without a channel; flat: HWC in a row
    height: Optional[int] = None  # None: any
    width: Optional[int] = None
    channels: int = 3  # 1: grey
    is_batched: bool = True
    batch: Optional[int] = None  # the only number of images that the graph accepts

    def sized(self, height: int, width: int) -> 'Layout':
        """Return the layout of images of this size."""
        return self._replace(height=height, width=width)

    def shape(self, count: Optional[int]) -> List[Optional[int]]:
        """Return the shape of `count` images."""
        sizes = {'H': self.height, 'W': self.width, 'C': self.channels}
        image = ([self.height * self.width * self.channels if self.height and self.width else None]
                 if self.order == 'flat' else [sizes[letter] for letter in self.order])
        return ([count] if self.is_batched else []) + image

    def arrange(self, images: np.ndarray) -> np.ndarray:
        """Return images [N, H, W, channels] in this order, in the shape that is fed."""
        if self.order == 'CHW':
            images = images.transpose(0, 3, 1, 2)
        return images.reshape(self.shape(len(images)))


def layout_of(shape: Shape) -> Optional[Layout]:
    """Return the layout of an input of this shape; None if images cannot be fed there.

    An unknown shape is that of RGB images of any size.
    """
    if shape is None:
        return Layout()
    if len(shape) == 3 and _is_image(shape):
        return _of_image(shape, False)
    if len(shape) == 1:
        return _of_image(shape, False)
    if not 2 <= len(shape) <= 4 or shape[0] == 0:
        return None
    layout = _of_image(shape[1:], True)
    return layout and layout._replace(batch=shape[0])


def to_grey(images: np.ndarray) -> np.ndarray:
    """Return the luminance of uint8 [N, H, W, 3] as uint8 [N, H, W, 1], rounded as Pillow does."""
    return ((images.astype(np.int32) @ np.array(LUMINANCE) + (1 << 15)) >> 16).astype(
        np.uint8)[..., None]


def text_of(shape: Sequence[Optional[int]], is_batched: bool = True) -> str:
    """Return a shape for a message, such as [N, 32, 32, 3]."""
    unknown = ['N' if is_batched and not i else '?' for i in range(len(shape))]
    return '[' + ', '.join(other if size is None else str(size)
                           for size, other in zip(shape, unknown)) + ']'


def _is_image(sizes: Sequence[Optional[int]]) -> bool:
    """Return whether three dimensions are those of one image: one of them is the channels."""
    return sizes[2] in (1, 3) or sizes[0] == 3


def _of_image(sizes: Sequence[Optional[int]], is_batched: bool) -> Optional[Layout]:
    """Return the layout of an image of these dimensions."""
    if len(sizes) == 1:
        return _flat(sizes[0], is_batched)
    if len(sizes) == 2:
        order, (height, width), channels = 'HW', sizes, 1
    elif sizes[2] not in (1, 3) and sizes[0] in (1, 3):
        order, (channels, height, width) = 'CHW', sizes
    else:
        order, (height, width, channels) = 'HWC', sizes
    channels = 3 if channels is None else channels
    if channels not in (1, 3) or any(size is not None and not 0 < size <= MAX_SIDE
                                     for size in (height, width)):
        return None
    return Layout(order, height, width, channels, is_batched)


def _flat(count: Optional[int], is_batched: bool) -> Optional[Layout]:
    """Return the layout of a square image whose `count` numbers are in a row."""
    for channels in (3, 1):
        side = math.sqrt((count or 0) / channels)
        if 0 < side <= MAX_SIDE and side == int(side):
            return Layout('flat', int(side), int(side), channels, is_batched)
    return None
