"""Images of any format and size are classified as if Pillow had read and resized them."""

import json
import os
import subprocess

import numpy as np
import PIL.Image
import pytest

from permafrost.datasets import registry
from tests.label_image.program import (
    OWN,
    PREPROCESSING,
    PROGRAM,
    TUTO,
    block,
    classify,
    execute,
    expected,
    noise,
    write_block_graph,
)

# File name, mode that Pillow writes, and tolerance of a probability.
FORMATS = [('rgb.png', 'RGB', 0.002), ('rgb.bmp', 'RGB', 0.002), ('rgb.jpg', 'RGB', 0.002),
           ('grey.png', 'L', 0.002), ('grey.bmp', 'L', 0.002), ('grey.jpg', 'L', 0.002),
           ('bits.png', '1', 0.002), ('bits.bmp', '1', 0.002), ('palette.png', 'P', 0.002),
           ('palette.bmp', 'P', 0.002), ('alpha.png', 'RGBA', 0.002), ('alpha.bmp', 'RGBA', 0.002),
           ('cmyk.jpg', 'CMYK', 0.01)]
SIZES = [(32, 32), (64, 64), (300, 200), (201, 300), (20, 31), (1, 1), (1, 500), (500, 1), (33, 32)]


def test_foreign_graph_classifies_as_ours(program, foreign_graph, picture, tmp_path):
    labels = [f'class {i}' for i in range(10)]
    (tmp_path / 'labels.txt').write_text('\n'.join(labels))
    flags = ['--json', '--top=10', OWN, picture]
    ours, foreign = (json.loads(program(*graph, *flags))['images'][0]['top'] for graph in [
        ['--graph=' + TUTO],
        ['--graph=' + foreign_graph, *PREPROCESSING, '--labels', tmp_path / 'labels.txt']])
    names = dict(zip(registry.CIFAR10_CLASSES, labels))
    assert [names[top['label']] for top in ours] == [top['label'] for top in foreign]
    assert [top['probability'] for top in ours] == pytest.approx(
        [top['probability'] for top in foreign], abs=1e-5)
    lines = program('--graph=' + foreign_graph, *PREPROCESSING, OWN, '--top=1', '--labels',
                    tmp_path / 'labels.txt', picture, picture).splitlines()
    assert lines[0] == f'graph: {foreign_graph}'
    lines = lines[-4:]
    assert lines[::2] == [str(picture)] * 2
    assert all(line.endswith(f'%  {foreign[0]["label"]}') for line in lines[1::2])


def test_pipes_of_the_shell_are_read_and_others_are_not_waited_for(program, picture, tmp_path):
    command = [PROGRAM, '--graph=' + TUTO, OWN, '--top=1']
    from_file = program(*command[1:], picture)
    for path, flags in ((picture, [*command, '/dev/stdin']),
                        (picture, [*command, '/proc/self/fd/0']),
                        (TUTO, [PROGRAM, '--graph=/dev/stdin', OWN, '--top=1', picture])):
        with open(str(path), 'rb') as stream:
            done = subprocess.run(list(map(str, flags)), input=stream.read(),
                                  stdout=subprocess.PIPE, timeout=300)
        assert done.returncode == 0
        assert done.stdout.decode().splitlines()[-1] == from_file.splitlines()[-1]
    os.mkfifo(str(tmp_path / 'pipe'))
    for flags in ([*command, tmp_path / 'pipe'],
                  [PROGRAM, f'--graph={tmp_path}/pipe', OWN, picture]):
        done = execute('timeout', '60', *flags)
        assert (done.returncode, done.stderr) == (
            1, f'label_image: {tmp_path}/pipe: not a regular file\n')


def test_labels_of_the_dataset_are_in_our_graphs(program, picture):
    answer = json.loads(program('--graph=' + TUTO, OWN, '--json', '--top=10', picture))
    assert {top['label'] for top in answer['images'][0]['top']} == set(registry.CIFAR10_CLASSES)


@pytest.fixture(scope='module')
def formats(program, graph, tmp_path_factory):
    """{file name: (path, probabilities)} of an image in all FORMATS."""
    folder = tmp_path_factory.mktemp('formats')
    paths = [str(folder / name) for name, _, _ in FORMATS]
    for path, (_, mode, _) in zip(paths, FORMATS):
        PIL.Image.fromarray(noise(32, 32)).convert(mode).save(path)
    probabilities = classify(program, graph, *paths)
    return {name: result for (name, _, _), result in zip(FORMATS, zip(paths, probabilities))}


@pytest.mark.parametrize('name, mode, tolerance', FORMATS)
def test_formats_equal_pillow(formats, name, mode, tolerance):
    path, probabilities = formats[name]
    with PIL.Image.open(path) as image:
        assert probabilities == pytest.approx(expected(image.convert('RGB')), abs=tolerance)


def test_16_bit_png_and_progressive_jpeg(program, graph, tmp_path):
    grey = noise(32, 32)[:, :, :1]
    PIL.Image.fromarray(grey[:, :, 0].astype(np.uint16) * 256).save(str(tmp_path / '16.png'))
    PIL.Image.fromarray(noise(64, 64)).save(str(tmp_path / 'p.jpg'), progressive=True)
    PIL.Image.fromarray(noise(64, 64)).save(str(tmp_path / 'b.jpg'), progressive=False)
    deep, progressive, baseline = classify(
        program, graph, *(tmp_path / name for name in ('16.png', 'p.jpg', 'b.jpg')))
    assert deep == pytest.approx(expected(np.repeat(grey, 3, 2)), abs=1e-4)
    assert progressive == pytest.approx(baseline, abs=1e-4)


@pytest.fixture(scope='module')
def sizes(program, tmp_path_factory):
    """{(height, width): probabilities} of images of all SIZES."""
    folder = tmp_path_factory.mktemp('sizes')
    paths = [str(folder / f'{height}x{width}.png') for height, width in SIZES]
    for path, (height, width) in zip(paths, SIZES):
        PIL.Image.fromarray(noise(height, width, seed=height)).save(path)
    graph = write_block_graph(folder / 'block.pb')
    return dict(zip(SIZES, classify(program, graph, *paths)))


@pytest.mark.parametrize('height, width', SIZES)
def test_any_size_is_cropped_and_resized_as_by_pillow(sizes, height, width):
    pixels = block(noise(height, width, seed=height))
    # One level of 255 changes a probability by 0.008.
    assert sizes[height, width] == pytest.approx(expected(pixels), abs=0.012)


def test_a_bad_image_does_not_stop_the_others(program, graph, picture, tmp_path):
    bad = tmp_path / 'bad.png'
    bad.write_bytes(b'no image')
    process = execute(PROGRAM, '--graph', graph, OWN, '--batch_size=2', picture, bad, picture,
                      picture)
    assert process.returncode == 1
    assert process.stderr == f'label_image: {bad}: not a PNG, JPEG or BMP image\n'
    assert process.stdout.count('noise.png\n') == 3 and process.stdout.count('%') == 9
