"""The program, built by a real compiler, and a graph for it."""

import pytest

from tests.label_image.program import PROGRAM, colours, execute, make, write_graph


@pytest.fixture(scope='session')
def program():
    """program(*flags, **environment): output of the built program, which must succeed quietly."""
    make()

    def run(*flags, **environment):
        done = execute(PROGRAM, *flags, **environment)
        assert (done.returncode, done.stderr) == (0, ''), done.stderr
        return done.stdout
    return run


@pytest.fixture(scope='session')
def refusal(program):
    """refusal(code, *flags): the one line on stderr with which the program exits `code`."""
    def run(code, *flags):
        done = execute(PROGRAM, *flags)
        assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
        assert done.stderr.count('\n') == 1 and done.stderr.startswith('label_image: ')
        return done.stderr
    return run


@pytest.fixture(scope='session')
def graph(tmp_path_factory):
    return write_graph(tmp_path_factory.mktemp('graph') / 'colours.pb', colours())
