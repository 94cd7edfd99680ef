"""ConvertedModel: a file that another runtime runs as a function from images to logits."""

import os
from typing import Any, Dict, List, Optional, Sequence

import numpy as np
import tensorflow.compat.v1 as tf

from permafrost.datasets.loading import Dataset
from permafrost.errors import UserError, printable, shown
from permafrost.evaluation.frozen_graphs.classifier import Classifier
from permafrost.evaluation.frozen_graphs.feeding.image_input import ImageInput
from permafrost.evaluation.frozen_graphs.graph_options import (
    NO_OPTIONS,
    GraphOptions,
    raise_if_missing,
)
from permafrost.evaluation.frozen_graphs.nodes import Nodes, candidates, missing_flag
from permafrost.evaluation.frozen_graphs.output import Output
from permafrost.evaluation.frozen_graphs.reading import labels
from permafrost.evaluation.runtimes import client

USUAL_OUTPUTS = ('predictions', 'probabilities')


class ConvertedModel(Classifier):
    """A file that another runtime runs."""

    def __init__(self, child: client.Child, path: str, dataset: Optional[Dataset] = None,
                 options: GraphOptions = NO_OPTIONS):
        """Ask `child`, a runtime, for the inputs and outputs of the file at `path`.

        Raises UserError if the file cannot be opened, or images cannot be fed to it; UsageError if
        something must be stated.
        """
        super().__init__(path, dataset)
        self._child = child
        facts = child.ask(describe=os.path.abspath(path))
        fed = _input(path, facts['inputs'], options)
        self._fetched = choose(path, facts['outputs'], 'output', options.output, USUAL_OUTPUTS)
        missing = [] if self._fetched else [missing_flag('output', facts['outputs'])]
        name = _plain(fed['name'])
        self.input = ImageInput(path, name, _type_number(path, fed['dtype']),
                                [None if size < 0 else size for size in fed['shape']], options,
                                dataset and dataset.image_shape[:2])
        raise_if_missing(path, name, [*missing, *self.input.missing_flags()])
        if dataset:
            self.input.check_dataset(dataset.name, dataset.image_shape[:2])
        nodes = Nodes(name, _plain(self._fetched), is_own=self.input.is_own)
        self.output = Output(path, nodes, facts.get('source_ops', {}).get(self._fetched, ''),
                             options.output_kind)
        self.labels = labels.in_file(options.labels) if options.labels else facts['labels']

    def run(self, session: Optional[tf.Session], images: np.ndarray, size: int) -> np.ndarray:
        """Return the output for uint8 images; there is no `session`."""
        if self.input.layout.is_batched:
            return self._predict(self.input.feed(images),
                                 self.input.batch or min(size, client.BATCH_SIZE))
        answers = [self._predict(fed, len(fed))  # all of it at once
                   for fed in map(self.input.feed, images[:, None])]
        return np.concatenate([np.atleast_2d(answer) for answer in answers])

    def _predict(self, fed: np.ndarray, batch_size: int) -> np.ndarray:
        return client.predict(self._child, self.path, fed, batch_size, self._fetched)


def choose(path: str, names: Sequence[str], flag: str, stated: Optional[str],
           usual: Sequence[str] = ()) -> str:
    """Return the one of `names` that `flag` states, else a usual one, else the only one, else ''.

    label_image/backends/backend.cc has the same rules. Raises UserError if none has the stated
    name.
    """
    plain = {_plain(name): name for name in reversed(names)}
    if stated:
        if stated in names or _plain(stated) in plain:
            return stated if stated in names else plain[_plain(stated)]
        raise UserError(f'{path} has no {shown(stated)} for --{flag} {candidates(names)}')
    return next((plain[name] for name in usual if name in plain),
                names[0] if len(names) == 1 else '')


def _input(path: str, inputs: List[Dict[str, Any]], options: GraphOptions) -> Dict[str, Any]:
    """Return the input to feed. Raises UserError if there is not one, or has another name."""
    if len(inputs) != 1:
        raise UserError(f'{path} has {len(inputs)} inputs, but only models with one can be fed: '
                        'export it with one')
    choose(path, [inputs[0]['name']], 'node', options.node)
    return inputs[0]


def _type_number(path: str, name: str) -> int:
    """Return the DataType of the type that a runtime calls `name`. Raises UserError."""
    try:
        return tf.as_dtype(name).as_datatype_enum
    except TypeError:  # TensorFlow has no such type
        raise UserError(f'{path}: its input has type {printable(name)}, but only uint8 images and '
                        'floats can be fed: convert the model with a uint8 or float input')


def _plain(name: str) -> str:
    """Return the name of an input or output without what a converter adds."""
    prefix = 'serving_default_'
    name = name[len(prefix):] if name.startswith(prefix) else name
    return name[:-2] if name.endswith(':0') else name
