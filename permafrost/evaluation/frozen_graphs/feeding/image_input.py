"""ImageInput: how images go into a frozen graph: their size, their layout, their type.

label_image/feeding/image_input.cc has the same rules.
"""

from typing import List, Optional, Sequence, Tuple

import numpy as np
import tensorflow.compat.v1 as tf

from permafrost.errors import UsageError, UserError, printable
from permafrost.evaluation.frozen_graphs.feeding import layout as layouts
from permafrost.evaluation.frozen_graphs.feeding.layout import Layout, Shape
from permafrost.evaluation.frozen_graphs.feeding.preprocessing import Preprocessing
from permafrost.evaluation.frozen_graphs.graph_options import GraphOptions

DEFAULT_SIDE = 32  # of CIFAR-10
FLOATS = (tf.float32, tf.float16, tf.float64)

Size = Optional[Tuple[int, int]]  # height, width


class ImageInput:
    """The input of a graph as a function from decoded images to what is fed."""

    def __init__(self, path: str, name: str, kind: int, shape: Shape, options: GraphOptions,
                 dataset_size: Size = None):
        """Decide how images go into the node `name`, of which `kind` (0: unknown) is the DataType.

        `dataset_size` is that of the images, if they do not come from files. Raises UserError if
        images cannot be fed there, UsageError if what is stated does not fit.
        """
        self.preprocessing = Preprocessing(
            options.standardize, options.input_mean, options.input_std)
        self._path, self.name = path, name
        try:
            self.dtype = tf.as_dtype(kind) if kind else tf.uint8 if name == 'images' else tf.float32
        except TypeError:
            raise UserError(f"{path}: node '{printable(name)[:100]}' has the unknown type {kind}: "
                            'write the graph again') from None
        self.is_raw = self.dtype == tf.uint8
        self.is_own = self.is_raw and name == 'images'  # as in the graphs of freeze_graph.py
        self.layout = self._find_layout(shape)
        self._find_sizes(options, dataset_size)

    def _find_layout(self, shape: Shape) -> Layout:
        place = f"{self._path}: node '{printable(self.name)[:100]}'"
        if not self.is_raw and self.dtype not in FLOATS:
            raise UserError(f'{place} has type {self.dtype.name}, but only uint8 images and floats '
                            'can be fed: convert the model with a uint8 or float input')
        if self.is_raw and self.preprocessing.is_stated:
            raise UsageError('--standardize, --input_mean and --input_std are for graphs that are '
                             f'fed floats: {self._path} receives pixels as they are')
        found = layouts.layout_of(shape)
        if found is None:
            raise UserError(
                f'{place} has shape {layouts.text_of(shape or [])}, but only images can be fed: '
                '[N, height, width, 3], also [N, 3, height, width], with 1 channel, or in a row')
        if (found.batch or 0) > layouts.MAX_BATCH:
            raise UserError(f'{place} has shape {layouts.text_of(shape or [])}, but at most '
                            f'{layouts.MAX_BATCH} images can be fed at a time: convert the model '
                            'with another batch size')
        if found.channels == 1:
            self.preprocessing.require_one_channel()
        return found if found.is_batched else found._replace(batch=1)

    def _find_sizes(self, options: GraphOptions, dataset_size: Size) -> None:
        """Set the size of what is fed, and `read_size`: that of image files; None: as it is."""
        self.read_size: Size = None
        in_graph = self.layout.height, self.layout.width
        flag, size = _stated_size(options)
        if options.crop_size and self.is_own:
            raise UsageError("--crop_size is for graphs without a node 'images': "
                             f'{self._path} crops images itself')
        if options.crop_size and self.is_raw:
            raise UsageError('--crop_size is for graphs that are fed floats: '
                             f'{self._path} receives whole images: give --image_size')
        is_larger = bool(None not in in_graph and flag and not options.crop_size and not self.is_raw
                         and not dataset_size and size[0] > in_graph[0] and size[1] > in_graph[1])
        if flag and not is_larger and any(
                mine not in (None, its) for mine, its in zip(in_graph, size)):
            raise UsageError(f'{self._path} expects images of {_size_text(in_graph)}, but '
                             f'--{flag} is {_size_text(size)}')
        fed = [mine or its for mine, its in zip(in_graph, size)]
        if self.is_own and not all(fed):
            fed = list(dataset_size or (DEFAULT_SIDE, DEFAULT_SIDE))
        if not all(fed):
            return  # raw of any size, or a flag is missing
        self.layout = self.layout.sized(*fed)
        is_square_colour = fed[0] == fed[1] and self.layout.channels == 3
        self.read_size = fed[0], fed[1]
        if not self.is_raw and is_square_colour:
            side = max(fed[0], DEFAULT_SIDE)
            self.read_size = side, side
        if not self.is_raw and (is_larger or (options.crop_size and options.image_size)):
            side = options.image_size
            self.read_size = (side, side) if side else size
        if min(mine - its for mine, its in zip(self.read_size, fed)) < 0:
            raise UsageError(f'--crop_size={fed[0]} is larger than --image_size='
                             f'{options.image_size}')

    def check_dataset(self, name: str, size: Tuple[int, int]) -> None:
        """Raise UserError if images of this size, of dataset `name`, cannot be fed."""
        fed = self.layout.height, self.layout.width
        if fed[0] and fed[1] and (fed[0] > size[0] or fed[1] > size[1]
                                  or (self.is_raw and fed != size)):
            raise UserError(f'{self._path} expects images of {_size_text(fed)}, but those of '
                            f'{name} are {_size_text(size)}: name its dataset with --dataset')

    @property
    def takes_any_size(self) -> bool:
        """True if each image is fed as it is, one at a time."""
        return self.is_raw and not (self.layout.height and self.layout.width)

    @property
    def batch(self) -> Optional[int]:
        """The only number of images that can be fed at once; None: any."""
        return 1 if self.takes_any_size else self.layout.batch

    def missing_flags(self) -> List[str]:
        """Return the flags that are missing."""
        if self.takes_any_size or (self.layout.height and self.layout.width):
            return []
        return ['--image_size N']

    def shape(self) -> List[Optional[int]]:
        """Return the shape of the placeholder; it begins with None for any number of images."""
        return self.layout.shape(self.layout.batch)

    def feed(self, images: np.ndarray) -> np.ndarray:
        """Return what is fed for uint8 images [N, H, W, 3]: their centres, if they are larger."""
        if self.layout.height and self.layout.width:
            (top, height), (left, width) = (
                ((mine - its) // 2, its) for mine, its in
                zip(images.shape[1:3], (self.layout.height, self.layout.width)))
            images = images[:, top:top + height, left:left + width]
        if self.layout.channels == 1:
            images = layouts.to_grey(images)
        if not self.is_raw:
            images = self.preprocessing.apply(images).astype(self.dtype.as_numpy_dtype)
        return self.layout.sized(*images.shape[1:3]).arrange(images)

    def __str__(self) -> str:
        size = layouts.text_of(self.layout.shape(self.layout.batch), self.layout.is_batched)
        colour = ', luminance' if self.layout.channels == 1 else ''
        how = 'images as they are, one at a time' if self.takes_any_size else self.preprocessing
        assumed = ('' if self.is_raw or self.preprocessing.is_stated else
                   ', assumed (see --input_mean and --standardize)')
        return f'{printable(self.name)[:100]}, {self.dtype.name} {size}{colour}, {how}{assumed}'


def _stated_size(options: GraphOptions
                 ) -> Tuple[Optional[str], Tuple[Optional[int], Optional[int]]]:
    """Return the flag that states the size of what is fed, and the size.

    Raises UsageError if two flags do.
    """
    if (options.crop_size or options.image_size) and (options.input_width or options.input_height):
        raise UsageError('--image_size and --crop_size cannot be combined with --input_width and '
                         '--input_height')
    for flag, side in (('crop_size', options.crop_size), ('image_size', options.image_size)):
        if side:
            return flag, (side, side)
    height, width = options.input_height or options.input_width, options.input_width
    if not height:
        return None, (None, None)
    return 'input_width' if width else 'input_height', (height, width or height)


def _size_text(size: Sequence[Optional[int]]) -> str:
    """Return width x height."""
    return 'x'.join('?' if each is None else str(each) for each in reversed(size))
