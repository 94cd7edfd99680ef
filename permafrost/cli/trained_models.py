"""Names of trained models on the command line: `tuto` is trained_models/tuto.pb."""

import os
from typing import List

from permafrost.cli.commands import ROOT

FOLDER = os.path.join(ROOT, 'trained_models')


def path_of(name: str) -> str:
    """Return the frozen graph of the trained model `name`; `name` if it is a path or unknown."""
    path = os.path.join(FOLDER, name + '.pb')
    is_path = os.sep in name or os.path.exists(name)
    return name if is_path or not os.path.exists(path) else path


def names() -> List[str]:
    """Return the names of the trained models."""
    return sorted(name[:-len('.pb')] for name in os.listdir(FOLDER) if name.endswith('.pb'))
