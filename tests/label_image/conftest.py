"""The built program, and a graph for it."""

import PIL.Image
import pytest

from tests.label_image.program import (
    PROGRAM,
    colours,
    execute,
    make,
    noise,
    write_foreign_graph,
    write_graph,
)


@pytest.fixture(scope='session')
def program():
    """program(*flags, **environment): stdout of the program, which must succeed silently."""
    make()

    def run(*flags, **environment):
        process = execute(PROGRAM, *flags, **environment)
        assert (process.returncode, process.stderr) == (0, ''), process.stderr
        return process.stdout
    return run


@pytest.fixture(scope='session')
def error_line(program):
    """error_line(code, *flags): the only line on stderr of the program, which must exit `code`."""
    def run(code, *flags):
        process = execute(PROGRAM, *flags)
        assert process.returncode == code, (process.returncode, process.stdout, process.stderr)
        assert process.stderr.count('\n') == 1 and process.stderr.startswith('label_image: ')
        return process.stderr
    return run


@pytest.fixture(scope='session')
def graph(tmp_path_factory):
    return write_graph(tmp_path_factory.mktemp('graph') / 'colours.pb', colours())


@pytest.fixture(scope='session')
def foreign_graph(tmp_path_factory):
    return write_foreign_graph(tmp_path_factory.mktemp('graph') / 'foreign.pb')


@pytest.fixture(scope='session')
def picture(tmp_path_factory):
    path = tmp_path_factory.mktemp('picture') / 'noise.png'
    PIL.Image.fromarray(noise(32, 32)).save(str(path))
    return path
