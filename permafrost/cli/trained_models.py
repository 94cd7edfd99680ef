"""Names of trained models on the command line: `tuto` is trained_models/tuto.pb."""

import os
from typing import List, Sequence

from permafrost.cli.commands import ROOT

FOLDER = os.path.join(ROOT, 'trained_models')
SUFFIXES = ('.pb', '.int8.tflite')  # of the files of a model; the first that exists counts


def path_of(name: str, suffixes: Sequence[str] = ('.pb',)) -> str:
    """Return the file of the trained model `name`; `name` if it is a path or unknown.

    The file has the first of `suffixes` for which there is one.
    """
    if os.sep in name or os.path.exists(name):
        return name
    paths = [os.path.join(FOLDER, name + suffix) for suffix in suffixes]
    return next(filter(os.path.exists, paths), name)


def names() -> List[str]:
    """Return the names of the trained models."""
    return sorted(name[:-len('.pb')] for name in os.listdir(FOLDER) if name.endswith('.pb'))
