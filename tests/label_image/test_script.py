"""label_image.sh: builds when needed, finds the library and the graph."""

import os
import shutil

import pytest

from tests.label_image.program import ENGINES, ROOT, execute


def test_script_builds_the_program_and_finds_library_and_model(graph, picture, tmp_path):
    if not ENGINES:
        pytest.skip('there is no engine in .venv')
    script = os.path.join(ROOT, 'label_image.sh')
    os.utime(os.path.join(ROOT, 'label_image', 'main.cc'))
    first, second = (execute(script, graph, picture, '--', '--top=1', ENGINE=ENGINES[0])
                     for _ in range(2))
    assert first.returncode == 0 and first.stdout.count('%') == 1, first.stderr
    assert first.stderr == 'building label_image\n'
    assert (second.returncode, second.stderr, second.stdout) == (0, '', first.stdout)
    for code, arguments, message in [
            (2, ['nonesuch'], "no model or image 'nonesuch'"),
            (2, [graph, '--top=1'], 'flags go after --'),
            (1, [str(tmp_path / 'none.pb')], 'No such file'),
            (2, [], '')]:
        process = execute(script, *arguments, ENGINE=ENGINES[0])
        assert process.returncode == code and message in process.stderr, process.stderr
    for flag in ('-h', '--help'):
        process = execute(script, flag)
        assert process.returncode == 0 and process.stdout.startswith('usage: ')
    process = execute(script, graph, 'i.png', ENGINE='nonesuch')
    assert process.returncode == 1 and 'make setup ENGINE=nonesuch' in process.stderr


@pytest.mark.parametrize('environment, message', [
    ({'CXX': 'nonesuch++'}, 'no C++ compiler (nonesuch++): apt-get install g++'),
    ({'CPPFLAGS': '-nostdinc'}, 'no headers of libpng and libjpeg: apt-get install libpng-dev'),
    ({}, 'cannot write ')])
def test_build_problem_is_one_line(graph, tmp_path, environment, message):
    shutil.copy(os.path.join(ROOT, 'label_image.sh'), str(tmp_path))
    shutil.copytree(os.path.join(ROOT, 'label_image'), str(tmp_path / 'label_image'),
                    ignore=shutil.ignore_patterns('build'))
    (tmp_path / '.venv' / 'default').mkdir(parents=True)
    if not environment:
        (tmp_path / 'label_image' / 'build').write_text('in the way')
    process = execute(tmp_path / 'label_image.sh', graph, 'i.png', ENGINE='', **environment)
    assert process.returncode == 1
    building, line = process.stderr.splitlines()
    assert building == 'building label_image' and line.startswith('label_image: ' + message)
