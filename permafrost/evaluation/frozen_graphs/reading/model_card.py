"""ModelCard: what the json next to a graph says of it: its model, its accuracy, its classes.

freeze_graph.py writes it. label_image/model_card.cc reads the same.
"""

import dataclasses
import os
from typing import Optional, Sequence

from permafrost import schema
from permafrost.errors import printable
from permafrost.schema import limited


@dataclasses.dataclass
class ModelCard:
    """The fields of the json that are read; None where there is no such file or field."""
    model: Optional[str] = limited(None, count=(0, 100))
    accuracy: Optional[float] = limited(None, minimum=0, maximum=1)
    classes: Optional[Sequence[str]] = limited(None, count=(0, 100000))
    bytes: Optional[int] = limited(None, minimum=0)

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
    is_other = os.path.isfile(path) and found.bytes not in (None, os.path.getsize(path))
    return ModelCard() if is_other else found
