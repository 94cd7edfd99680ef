"""Runs to compare: a study of two variants with two seeds each, and others."""

import shutil

import pytest

from permafrost import files, runs
from tests import networks

HOSTILE = "<b>'x'\n\x1b[31m=1"  # a folder's name


@pytest.fixture(scope='session')
def _trained(synthetic, tmp_path_factory):
    folder = tmp_path_factory.mktemp('compared')
    for seed in (1, 2):
        for variant, changes in (('baseline', []), ('learning_rate=0.01', ['learning_rate=0.01'])):
            networks.train(synthetic, folder / 'study' / 'runs' / variant / f'seed{seed}', 4,
                           'tiny', changes=changes, seed=seed)
    files.write_json(str(folder / 'study' / 'study.json'), {'seeds': [1, 2]})
    (folder / 'study' / 'runs' / 'momentum=2' / 'seed1').mkdir(parents=True)  # did not start
    return folder


@pytest.fixture()
def folder(_trained, tmp_path):
    """A copy of the folder with `study` and, under `runs`, a killed run, a run of others and more.

    In it the network `tiny` is a model.
    """
    with networks.registered():
        shutil.copytree(str(_trained / 'study'), str(tmp_path / 'study'))
        first = str(tmp_path / 'study' / 'runs' / 'baseline' / 'seed1')
        for name in ('killed', 'foreign', HOSTILE):
            copy = str(tmp_path / 'runs' / 'tiny' / name)
            shutil.copytree(first, copy)
            runs.write_config(copy, *runs.read_config(first))  # with the way to its dataset
        runs.write_status(str(tmp_path / 'runs' / 'tiny' / 'killed'), state='running', step=3)
        config = tmp_path / 'runs' / 'tiny' / 'foreign' / 'config.json'
        config.write_text(config.read_text().replace('"tiny"', '"<script>"'))
        (tmp_path / 'empty').mkdir()
        yield tmp_path
