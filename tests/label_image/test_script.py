"""label_image.sh: builds when needed, finds the library and the graph."""

import os
import shutil

import PIL.Image
import pytest

from tests.label_image.program import ENGINES, ROOT, execute, noise


def test_script_builds_finds_the_library_and_the_model(graph, tmp_path):
    if not ENGINES:
        pytest.skip('there is no engine in .venv')
    script = os.path.join(ROOT, 'label_image.sh')
    PIL.Image.fromarray(noise(32, 32)).save(str(tmp_path / 'i.png'))
    os.utime(os.path.join(ROOT, 'label_image', 'main.cc'))
    done = execute(script, graph, tmp_path / 'i.png', '--', '--top=1', ENGINE=ENGINES[0])
    assert done.returncode == 0 and done.stdout.count('%') == 1, done.stderr
    assert done.stderr == 'building label_image\n'
    again = execute(script, graph, tmp_path / 'i.png', '--', '--top=1', ENGINE=ENGINES[0])
    assert (again.returncode, again.stderr, again.stdout) == (0, '', done.stdout)
    for code, arguments, message in [
            (2, ['nonesuch'], "no model or image 'nonesuch'"),
            (2, [graph, '--top=1'], 'flags go after --'),
            (1, [str(tmp_path / 'none.pb')], 'No such file'),
            (2, [], '')]:
        done = execute(script, *arguments, ENGINE=ENGINES[0])
        assert done.returncode == code and message in done.stderr, done.stderr
    done = execute(script, graph, 'i.png', ENGINE='nonesuch')
    assert done.returncode == 1 and 'make setup ENGINE=nonesuch' in done.stderr


@pytest.mark.parametrize('environment, message', [
    ({'CXX': 'nonesuch++'}, 'no C++ compiler (nonesuch++): apt-get install g++'),
    ({'CPPFLAGS': '-nostdinc'}, 'no headers of libpng and libjpeg: apt-get install libpng-dev'),
    ({}, 'cannot write ')])
def test_what_the_build_lacks_is_one_line(graph, tmp_path, environment, message):
    shutil.copy(os.path.join(ROOT, 'label_image.sh'), str(tmp_path))
    shutil.copytree(os.path.join(ROOT, 'label_image'), str(tmp_path / 'label_image'),
                    ignore=shutil.ignore_patterns('build'))
    (tmp_path / '.venv' / 'default').mkdir(parents=True)
    if not environment:
        (tmp_path / 'label_image' / 'build').write_text('in the way')
    done = execute(tmp_path / 'label_image.sh', graph, 'i.png', ENGINE='', **environment)
    assert done.returncode == 1
    building, line = done.stderr.splitlines()
    assert building == 'building label_image' and line.startswith('label_image: ' + message)
