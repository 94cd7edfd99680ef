"""The shared flags, and how a script runs. tests/test_scripts.py tries the scripts themselves."""

import subprocess
import sys

import pytest
from absl import flags as absl_flags

from permafrost import flags
from permafrost.errors import UsageError

SCRIPT = '''
"""Do one thing."""
import sys
sys.path.insert(0, {root!r})
from absl import flags as absl_flags
from permafrost import flags
from permafrost.errors import UserError
absl_flags.DEFINE_integer('depth', 3, 'Depth of it.')
flags.define_dataset_flag()


def main(name=None):
    if name == 'fail':
        raise UserError('no such thing: name another')
    if name == 'missing':
        open('/nonexistent/file')
    print(name, absl_flags.FLAGS.depth, flags.explicitly_set(absl_flags.FLAGS))


if __name__ == '__main__':
    flags.run_script(main, max_arguments=1)
'''


@pytest.fixture(scope='module')
def script(tmp_path_factory):
    from tests.conftest import ROOT
    path = tmp_path_factory.mktemp('script') / 'do.py'
    path.write_text(SCRIPT.lstrip().format(root=ROOT))

    def run(*arguments):
        done = subprocess.run([sys.executable, str(path), *arguments], universal_newlines=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        return done.returncode, done.stdout, done.stderr
    return run


@pytest.mark.parametrize('flag', ['--help', '-h'])
def test_help_lists_the_flags_of_the_script_and_exits_0(script, flag):
    code, out, err = script(flag)
    assert code == 0 and not err
    assert out.startswith('Do one thing.')
    assert '--depth: Depth of it.' in out and '--dataset' in out and '--verbosity' not in out


def test_the_old_name_of_a_flag_still_works(script):
    assert script('--data_set=x', 'a')[1] == "a 3 {'dataset': 'x'}\n"
    assert script('--dataset=x', 'a')[1] == "a 3 {'dataset': 'x'}\n"


@pytest.mark.parametrize('arguments, code, message', [
    (['--dept=3'], 2, 'unknown flag --dept; did you mean --depth?'),
    (['--nonsense'], 2, 'unknown flag --nonsense.'),
    (['--depth=deep'], 2, '--depth=deep'),
    (['a', 'b'], 2, "unexpected argument 'b'; flags begin with --"),
    (['fail'], 1, 'no such thing: name another'),
    (['missing'], 1, '/nonexistent/file: No such file or directory')])
def test_an_error_is_one_line_and_an_exit_code(script, arguments, code, message):
    done = script(*arguments)
    assert done[0] == code and message in done[2]
    assert done[2].startswith('error: ') and done[2].count('\n') == 1


@pytest.fixture
def values():
    def parse(*arguments):
        parsed = absl_flags.FlagValues()
        for name in ('run', 'graph', 'weights', 'results'):
            absl_flags.DEFINE_string(name, None, 'Help.', flag_values=parsed)
        absl_flags.DEFINE_integer('image_size', None, 'Help.', flag_values=parsed)
        absl_flags.DEFINE_integer('step', None, 'Help.', flag_values=parsed)
        parsed(['script'] + list(arguments))
        return parsed
    return parse


def test_a_frozen_graph_replaces_a_run(values):
    assert flags.uses_frozen_graph(values('--graph=a.pb', '--image_size=24'))
    assert not flags.uses_frozen_graph(values('--run=runs/tuto/1', '--step=3'))
    for arguments in (['--graph=a.pb', '--run=b'], ['--graph=a.pb', '--step=3'],
                      ['--graph=a.pb', '--weights=raw'], ['--image_size=24']):
        with pytest.raises(UsageError):
            flags.uses_frozen_graph(values(*arguments))
