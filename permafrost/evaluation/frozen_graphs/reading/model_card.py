"""ModelCard: what the json next to a graph says of it: its model, its accuracy, its classes.

freeze_graph.py writes it. label_image/model_card.cc reads the same.
"""

import dataclasses
import hashlib
import os
from typing import Optional, Sequence

from permafrost import files, schema
from permafrost.errors import printable
from permafrost.schema import limited


@dataclasses.dataclass
class ModelCard:
    """The fields of the json that are read; None where there is no such file or field."""
    model: Optional[str] = limited(None, count=(0, 100))
    recipe: Optional[str] = limited(None, count=(0, 100))
    accuracy: Optional[float] = limited(None, minimum=0, maximum=1)
    classes: Optional[Sequence[str]] = limited(None, count=(0, 100000))
    bytes: Optional[int] = limited(None, minimum=0)
    sha256: Optional[str] = None
    dataset_identity: Optional[str] = limited(None, count=(0, 100))
    step: Optional[int] = limited(None, minimum=0)
    weights: Optional[str] = limited(None, count=(0, 100))
    params: Optional[int] = limited(None, minimum=0)  # without the filters that pruning removed
    ops: Optional[int] = limited(None, minimum=0)
    sparsity: Optional[float] = limited(None, minimum=0, maximum=1)  # share of zeros

    def title(self, path: str) -> str:
        """Return the path of the graph, its model and accuracy, for the answer."""
        facts = [printable(self.model)] if self.model else []
        facts += [f'accuracy {self.accuracy:.4f}'] if self.accuracy is not None else []
        return printable(path) + (f" ({', '.join(facts)})" if facts else '')


def read_model_card(path: str) -> ModelCard:
    """Return the card of the graph at `path`: empty if there is none, or that of another file."""
    path = path.rstrip(os.sep)  # of a SavedModel directory
    base, extension = os.path.splitext(path)
    card = path + '.json' if extension != '.pb' else base + '.json'
    found = ModelCard(**schema.read_if_valid(card, ModelCard, {}))
    file = os.path.join(path, 'saved_model.pb') if os.path.isdir(path) else path
    return ModelCard() if os.path.isfile(file) and not _is_of(found, file) else found


def _is_of(card: ModelCard, path: str) -> bool:
    """Return whether the file at `path` has the size and the checksum that its `card` names."""
    if card.bytes not in (None, os.path.getsize(path)):
        return False
    if card.sha256 is None:
        return True
    with files.open_regular(path) as stream:
        return hashlib.sha256(stream.read()).hexdigest() == card.sha256
