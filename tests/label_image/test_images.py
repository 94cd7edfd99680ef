"""Images of any format and size are classified as Pillow reads and resizes them."""

import json
import os

import numpy as np
import PIL.Image
import pytest

from permafrost.datasets import registry
from tests.label_image.program import (
    FED, OWN, PROGRAM, ROOT, THIRD_PARTY, block, block_graph, classify, execute, expected,
    needs_third_party, noise)


def test_third_party_cars_are_cars(program):
    needs_third_party()
    cars = [os.path.join(THIRD_PARTY, name) for name in ('251.png', '256.png')]
    out = program(*FED, OWN, '--labels', os.path.join(THIRD_PARTY, 'labels.txt'), '--top=1', *cars)
    with open(os.path.join(THIRD_PARTY, 'labels.txt')) as stream:
        car = stream.read().split()[1]
    lines = out.splitlines()
    assert lines[::2] == cars and all(line.split()[2] == car for line in lines[1::2]), out


@pytest.mark.parametrize('name, convert', [
    ('rgb.png', lambda image: image),
    ('rgb.bmp', lambda image: image),
    ('grey.png', lambda image: image.convert('L')),
    ('grey.bmp', lambda image: image.convert('L')),
    ('grey.jpg', lambda image: image.convert('L')),
    ('bits.png', lambda image: image.convert('1')),
    ('bits.bmp', lambda image: image.convert('1')),
    ('palette.png', lambda image: image.convert('P')),
    ('palette.bmp', lambda image: image.convert('P')),
    ('alpha.png', lambda image: image.convert('RGBA')),
    ('alpha.bmp', lambda image: image.convert('RGBA')),
    ('rgb.jpg', lambda image: image),
    ('cmyk.jpg', lambda image: image.convert('CMYK')),
])
def test_formats_equal_pillow(program, graph, tmp_path, name, convert):
    path = str(tmp_path / name)
    convert(PIL.Image.fromarray(noise(32, 32))).save(path)
    found, = classify(program, graph, path)
    with PIL.Image.open(path) as image:
        want = expected(image.convert('RGB'))
    assert found == pytest.approx(want, abs=0.01 if name == 'cmyk.jpg' else 0.002)


def test_16_bits_and_progressive(program, graph, tmp_path):
    deep = noise(32, 32)[:, :, :1]
    PIL.Image.fromarray(deep[:, :, 0].astype(np.uint16) * 256).save(str(tmp_path / 'deep.png'))
    PIL.Image.fromarray(noise(64, 64)).save(str(tmp_path / 'p.jpg'), progressive=True)
    PIL.Image.fromarray(noise(64, 64)).save(str(tmp_path / 'b.jpg'), progressive=False)
    found = classify(program, graph, *(tmp_path / n for n in ('deep.png', 'p.jpg', 'b.jpg')))
    assert found[0] == pytest.approx(expected(np.repeat(deep, 3, 2)), abs=1e-4)
    assert found[1] == pytest.approx(found[2], abs=1e-4)


@pytest.mark.parametrize('height, width', [
    (32, 32), (64, 64), (300, 200), (201, 300), (20, 31), (1, 1), (1, 500), (500, 1), (33, 32)])
def test_any_size_is_cropped_and_resized_as_pillow_does(program, tmp_path, height, width):
    graph = block_graph(tmp_path / 'block.pb')
    pixels = noise(height, width, seed=height)
    PIL.Image.fromarray(pixels).save(str(tmp_path / 'i.png'))
    want = block(pixels)
    found, = classify(program, graph, tmp_path / 'i.png')
    assert found == pytest.approx(expected(want), abs=0.012)  # a level of 255 moves it by 0.008


def test_many_images_and_one_bad(program, graph, tmp_path):
    PIL.Image.fromarray(noise(40, 40)).save(str(tmp_path / 'good.png'))
    (tmp_path / 'bad.png').write_bytes(b'no image')
    good, bad = tmp_path / 'good.png', tmp_path / 'bad.png'
    done = execute(PROGRAM, '--graph', graph, OWN, '--batch_size=2', good, bad, good, good)
    assert done.returncode == 1
    assert done.stderr == 'label_image: %s: not a PNG, JPEG or BMP image\n' % bad
    assert done.stdout.count('good.png\n') == 3 and done.stdout.count('%') == 9


def test_labels_of_the_data_set_are_in_our_graphs(program):
    path = os.path.join(ROOT, 'trained_models', 'tuto.pb')
    if not os.path.isfile(path):
        pytest.skip('there is no trained_models/tuto.pb')
    needs_third_party()
    answer = json.loads(program('--graph=' + path, OWN, '--json', '--top=10',
                                os.path.join(THIRD_PARTY, '251.png')))
    assert {top['label'] for top in answer['images'][0]['top']} == set(registry.CIFAR10_CLASSES)
