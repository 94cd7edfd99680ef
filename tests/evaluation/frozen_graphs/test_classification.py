"""eval.py --images, in process: what it prints, what it refuses. label_image prints the same."""

import json
import os
import shutil

import numpy as np
import PIL.Image
import pytest

from permafrost.evaluation.frozen_graphs import classification
from tests import in_process
from tests.label_image.program import SQUEEZE1, TUTO


@pytest.fixture(scope='module')
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp('pictures')
    for seed, name in enumerate(('a.png', 'b.bmp')):
        pixels = np.random.RandomState(seed).randint(0, 256, (40, 50, 3)).astype(np.uint8)
        PIL.Image.fromarray(pixels).save(str(folder / name))
    return [str(folder / 'a.png'), str(folder / 'b.bmp')]


def test_the_best_classes_of_each_image_are_printed(pictures):
    result = in_process.run('eval.py', '--graph', TUTO, '--images', *pictures, '--top=2')
    title, *lines = result.stdout.splitlines()
    assert result.code == 0 and title == f'graph: {TUTO} (tuto, accuracy 0.8161)'
    assert lines[::3] == pictures and len(lines) == 6
    assert all(line.count(' %  ') == 1 for line in lines[1:3])


def test_a_bad_image_is_reported_and_the_others_are_classified(pictures, tmp_path):
    (tmp_path / 'bad.png').write_bytes(b'no image')
    result = in_process.run('eval.py', '--graph', TUTO, '--images', tmp_path / 'bad.png',
                            pictures[0])
    assert result.code == 1 and pictures[0] in result.stdout
    assert f'{tmp_path}/bad.png: not a PNG, JPEG or BMP image' in result.stderr


def test_a_pipe_of_the_shell_is_read_and_another_one_is_not_waited_for(pictures, tmp_path):
    reader, writer = os.pipe()
    with open(pictures[0], 'rb') as stream:
        os.write(writer, stream.read())  # 6 kB: the pipe holds it
    os.close(writer)
    os.mkfifo(str(tmp_path / 'pipe.png'))
    try:
        result = in_process.run('eval.py', '--graph', TUTO, '--images', f'/dev/fd/{reader}',
                                tmp_path / 'pipe.png')
    finally:
        os.close(reader)
    assert f'/dev/fd/{reader}\n' in result.stdout and result.code == 1
    assert classification.SHELL_PIPE.fullmatch('/proc/self/fd/11')  # zsh
    assert f'error: {tmp_path}/pipe.png: not a regular file' in result.stderr


def test_a_run_is_its_frozen_graph(pictures, tmp_path):
    (tmp_path / 'train').mkdir()
    (tmp_path / 'config.json').write_text('{}')
    arguments = 'eval.py', '--graph', tmp_path, '--images', pictures[0]
    result = in_process.run(*arguments)
    assert result.code == 1 and 'is not frozen: freeze it first:' in result.stderr
    for name in ('own.pb', 'teacher.pb'):
        shutil.copy(TUTO, str(tmp_path / name))
    assert in_process.run(*arguments).stdout.startswith(f'graph: {tmp_path}/own.pb\n')
    shutil.copy(TUTO, str(tmp_path / 'other.pb'))
    assert 'has several frozen graphs: name one: other.pb, own.pb' in in_process.run(
        *arguments).stderr


def test_names_of_the_classes_come_from_the_json_if_the_graph_has_none(pictures, tmp_path):
    from permafrost.evaluation.frozen_graphs import graph_def
    graph = graph_def.extract_subgraph(graph_def.read_graph(TUTO), ['predictions'])
    (tmp_path / 'a.pb').write_bytes(graph.SerializeToString())
    arguments = 'eval.py', '--graph', tmp_path / 'a.pb', '--images', pictures[0]
    assert in_process.run(*arguments).stdout.splitlines()[2].rsplit('  ')[-1].isdigit()
    (tmp_path / 'a.json').write_text(json.dumps({'classes': [f'c{i}' for i in range(10)]}))
    assert '  c' in in_process.run(*arguments).stdout
    (tmp_path / 'a.json').write_text(json.dumps({'classes': ['one']}))
    assert '1 label for 10 classes' in in_process.run(*arguments).stderr


@pytest.mark.parametrize('flags, message', [
    (['a.png'], "unexpected argument 'a.png'; image files follow --images"),
    (['--images', 'a.png'], '--images needs --graph'),
    (['--graph', SQUEEZE1, '--images', 'a.png', '--split=train'], '--split applies to datasets')])
def test_wrong_flags_are_refused(flags, message):
    result = in_process.run('eval.py', *flags)
    assert result.code == 2 and message in result.stderr and not result.stdout
