"""Directories of images for the tests of packing."""

import shutil

import pytest

from permafrost.datasets import packing
from tests.datasets.helpers import make_images


@pytest.fixture(scope='module')
def images(tmp_path_factory):
    """(directory, relative paths) of 90 images, which no test changes."""
    directory = tmp_path_factory.mktemp('images')
    return directory, make_images(directory, 90)


@pytest.fixture
def copied(images, tmp_path):
    """A copy of them to change."""
    shutil.copytree(str(images[0]), str(tmp_path / 'in'))
    return tmp_path / 'in'


@pytest.fixture
def small_shards(monkeypatch):
    monkeypatch.setattr(packing, 'SHARD_IMAGES', 15)
