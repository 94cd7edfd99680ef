"""TrainingMeans: the mean loss and accuracy of the training steps between two evaluations.

The sums are saved with each checkpoint, so a training that is killed gives the same means.
"""

import dataclasses
import os
from typing import Dict, Optional

from permafrost import files, runs, schema
from permafrost.schema import limited
from permafrost.training.checkpoints import finding


@dataclasses.dataclass
class Sums:
    """Sums over training steps, and the number of these."""
    steps: int = limited(0, minimum=0)
    cross_entropy: float = limited(0., minimum=0)
    accuracy: float = limited(0., minimum=0)


class TrainingMeans:
    """Means since the last `clear`; saved in `<run>/train/sums.json`, by the checkpoint's step."""

    def __init__(self, run: str):
        self._run = run
        self._path = os.path.join(runs.train_dir(run), 'sums.json')
        self._sums = Sums()
        self._saved: Dict[str, Sums] = {}

    def add(self, cross_entropy: float, accuracy: float) -> None:
        """Add a training step."""
        self._sums = Sums(self._sums.steps + 1, self._sums.cross_entropy + float(cross_entropy),
                          self._sums.accuracy + float(accuracy))

    def clear(self) -> None:
        """Begin new means."""
        self._sums = Sums()

    @property
    def cross_entropy(self) -> Optional[float]:
        """The mean cross entropy; None if no step is known."""
        return self._sums.cross_entropy / self._sums.steps if self._sums.steps else None

    @property
    def accuracy(self) -> Optional[float]:
        """The mean accuracy of the batches, from 0 to 1; None if no step is known."""
        return self._sums.accuracy / self._sums.steps if self._sums.steps else None

    def save(self, step: int) -> None:
        """Save the sums for the checkpoint of `step`, which is about to be saved.

        A kill between the two is harmless: the sums of a step without a checkpoint are not read.
        """
        kept = {str(each) for each in finding.list_checkpoints(self._run)}
        self._saved = {each: sums for each, sums in self._saved.items() if each in kept}
        self._saved[str(step)] = self._sums
        files.write_json(self._path, {
            each: dataclasses.asdict(sums) for each, sums in self._saved.items()})

    def restore(self, step: int) -> None:
        """Continue with the sums of the checkpoint of `step`; with none if they are not known."""
        saved = schema.read_if_valid(self._path, Dict[str, Sums], {})
        self._saved = {each: Sums(**fields) for each, fields in saved.items()}
        self._sums = self._saved.get(str(step), Sums())
