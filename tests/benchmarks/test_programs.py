"""The programs that benchmarks run, and what is said of those that fail."""

import pytest

from benchmarks import programs, runner
from permafrost.errors import UserError


def test_the_output_is_returned():
    assert programs.run('sh', '-c', 'echo a; echo b >&2') == 'a\n'


@pytest.mark.parametrize('script, message', [
    ('echo first >&2; echo the reason >&2; exit 1', 'the reason'),
    ('echo the reason; exit 1', 'the reason'), ('exit 1', 'no output')])
def test_a_command_that_fails_is_one_line(script, message):
    with pytest.raises(UserError, match=f'^sh failed: {message}$'):
        programs.run('sh', '-c', script)


def test_a_script_that_fails_is_named(tmp_path):
    with pytest.raises(UserError, match='^train.py failed: error: unknown model'):
        programs.train_and_freeze('tutu', str(tmp_path), runner.Options())
