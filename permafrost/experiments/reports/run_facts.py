"""Facts about a run for its report: settings, metrics of each class, the worst mistakes, sizes."""

import base64
import dataclasses
import functools
import io
import os
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from permafrost import runs, schema
from permafrost.config import Config
from permafrost.datasets import loading
from permafrost.errors import UserError
from permafrost.evaluation import history
from permafrost.evaluation.frozen_graphs.reading.model_card import ModelCard, read_model_card
from permafrost.experiments import model_info
from permafrost.recipes import catalog
from permafrost.recipes.setting_text import to_text
from permafrost.schema import limited

MAX_PICTURES = 24

Table = List[Tuple[str, str, Optional[str]]]  # setting, value, the recipe's where it differs


@dataclasses.dataclass
class Mistake:
    """An item of mistakes.json."""
    index: int = limited(minimum=0)
    label: int = limited(minimum=0)
    predicted: int = limited(minimum=0)
    probability: float = limited(minimum=0, maximum=1)


@dataclasses.dataclass
class LatencyFile:
    """latency.json: how long the frozen graph takes for an image."""
    latency_ms: float = limited(minimum=0, earlier='median_ms')
    sha256: str = ''  # of the graph
    engine: str = ''
    threads: int = limited(1, minimum=1)


class ClassMetrics(NamedTuple):
    """A class, its accuracy, and what it is most often mistaken for."""
    name: str
    accuracy: Optional[float]  # None: it has no images
    confused_with: str


class ConfusionRow(NamedTuple):
    """A row of the confusion matrix; `shades` say how dark each cell is, 0 to 1."""
    number: int
    counts: Sequence[int]
    total: int
    shades: Sequence[float]


class Picture(NamedTuple):
    """A mistake with its image, as a data: address."""
    picture: str
    number: int  # of the image in its split
    label: str
    predicted: str
    probability: float


def metrics(run: str, split: str, num_classes: int, weights: str) -> Optional[Dict[str, Any]]:
    """Return the last metrics of the `weights` of `run`; None if there are none of its classes."""
    for value in history.newest_metrics(run, split, weights):
        confusion = value.get('confusion', ())
        if {len(confusion), *map(len, confusion)} == {num_classes}:
            return value
    return None


def class_metrics(confusion: Sequence[Sequence[int]], classes: Sequence[str]
                  ) -> Tuple[List[ClassMetrics], List[ConfusionRow]]:
    """Return the metrics of each class, and the confusion matrix unless it is too large."""
    from permafrost.evaluation.metrics import MAX_CONFUSION_CLASSES  # imports TensorFlow
    counts = np.array(confusion, np.int64)
    totals = np.maximum(counts.sum(1), 1)
    errors = counts * (1 - np.eye(len(counts), dtype=np.int64))
    by_class = []
    for number, name in enumerate(classes):
        worst = int(errors[number].argmax())
        count = int(errors[number, worst])
        accuracy = counts[number, number] / totals[number] if counts[number].any() else None
        confused_with = f'{classes[worst]} ({count})' if count else ''
        by_class.append(ClassMetrics(name, accuracy, confused_with))
    if len(classes) > MAX_CONFUSION_CLASSES:
        return by_class, []
    # The root makes rare mistakes visible.
    shades = np.sqrt(counts / totals[:, np.newaxis]) * 0.85
    return by_class, [ConfusionRow(*row) for row in zip(
        range(len(counts)), counts.tolist(), totals.tolist(), shades.tolist())]


def mistakes(run: str, config: Config, split: str, classes: Sequence[str]) -> List[Picture]:
    """Return the worst mistakes of the last evaluation on `split`, with their images.

    Raises UserError if the dataset is not there.
    """
    path = os.path.join(run, 'eval', split, 'mistakes.json')
    worst = schema.read_if_valid(path, List[Mistake], [])[:MAX_PICTURES]
    if not worst:
        return []
    dataset = _dataset(config)
    shown = [each for each in worst if each['index'] < dataset.counts.get(split, 0)
             and max(each['label'], each['predicted']) < len(classes)]
    if not shown:
        return []
    numbers = np.unique([each['index'] for each in shown])
    images = dict(zip(numbers, loading.pick(dataset, split, numbers)[0]))
    return [Picture(picture(images[each['index']]), each['index'], classes[each['label']],
                    classes[each['predicted']], each['probability']) for each in shown]


@functools.lru_cache(maxsize=1)
def _dataset(config: Config) -> loading.Dataset:
    return loading.open_for_run(config)  # verifies all bytes: not once an epoch


def picture(image: np.ndarray) -> str:
    """Return `image`, uint8 [H, W, 3], as the data: address of a PNG file."""
    from PIL import Image  # here: a training without mistakes to show does not need it
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, 'PNG')
    return 'data:image/png;base64,' + base64.b64encode(stream.getvalue()).decode()


def settings(config: Config) -> List[Tuple[str, Table]]:
    """Return the tables of the recipe's and of the run's settings."""
    value = config.to_json()
    recipe, run = value.pop('recipe'), value
    usual = catalog.RECIPES[config.recipe.name].to_json() if (
        config.recipe.name in catalog.RECIPES) else recipe
    return [
        ('Recipe', [(name, _to_text(each), None if each == usual[name] else _to_text(usual[name]))
                    for name, each in recipe.items()]),
        ('Run', [(name, _to_text(each), None) for name, each in run.items()
                 if name != 'statistics' and each not in (None, '', [])])]


def _to_text(value: Any) -> str:
    return to_text(value).replace(',', ', ')  # so that a browser breaks the line


@functools.lru_cache(maxsize=8)
def counts(model: str, image_size: int, classes: int) -> Dict[str, int]:
    """Return the parameters ('params') and operations ('ops') of a model; {} if it has no size."""
    try:
        return model_info.measure_model(model, image_size, classes)
    except UserError:
        return {}


def frozen(run: str, model: str) -> Optional[ModelCard]:
    """Return the card of the frozen graph of `run`; None if there is no graph or no such card."""
    graph = os.path.join(run, model + '.pb')
    card = read_model_card(graph) if os.path.exists(graph) else ModelCard()
    return None if card.bytes is None or card.step is None else card


def latency(run: str, card: ModelCard) -> Dict[str, Any]:
    """Return the fields of LatencyFile of `run`; {} if they are not of the graph of `card`."""
    value = schema.read_if_valid(os.path.join(run, 'latency.json'), LatencyFile, {})
    return value if value.get('sha256') in ('', None, card.sha256) else {}


def page_state(run: str, config: Config, step: int) -> Tuple[str, bool]:
    """Return the state of `run` at `step`, and whether its page will change."""
    if step >= config.steps:
        return 'done', False
    stated = runs.read_status(run).get('state', 'running')
    if stated != 'running':  # the training that ends holds its lock until the page is written
        return stated, False
    found, _ = runs.state(run, config)
    return found, found == 'running'
