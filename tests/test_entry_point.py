"""How a script runs. tests/test_scripts.py tries the scripts themselves."""

import os
import re
import subprocess
import sys

import pytest

from tests import in_process
from tests.processes import ROOT

SCRIPT = '''
"""Do one thing."""
import atexit, os, signal, sys
sys.path.insert(0, {root!r})
from absl import flags as absl_flags
from permafrost import entry_point, flags
from permafrost.errors import UserError
absl_flags.DEFINE_integer('depth', 3, 'Depth of it.')
absl_flags.DEFINE_multi_string('paths', [], 'Files of it.')
absl_flags.DEFINE_list('kinds', [], 'Kinds of it.')
flags.define_dataset_flag()


def main(name=None, signal_name=None):
    if name == 'signal':
        try:
            os.kill(os.getpid(), getattr(signal, 'SIG' + signal_name))
        finally:
            print('cleaned up')
    if name == 'lose':
        class Loses:
            def __del__(self):
                os.kill(os.getpid(), signal.SIGTERM)  # Python ignores exceptions here
        Loses()
        from permafrost import engines
        engines.prepare()
    if name == 'replace':
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except SystemExit:
            raise ImportError('half a module')
    if name == 'fail':
        raise UserError('no such thing: name another')
    if name == 'late':
        atexit.register(os.kill, os.getpid(), signal.SIGTERM)
    if name == 'draw':
        import permafrost.experiments.reports.svg
    if name == 'missing':
        open('/nonexistent/file')
    if name == 'exhaust':  # as TensorFlow does
        raise type('ResourceExhaustedError', (Exception,), {{}})({{
            'memory': 'OOM when allocating tensor', 'disk': '/a/b; No space left on device'
        }}[signal_name])
    if name == 'allocate':
        bytes(2**60)
    print(name, absl_flags.FLAGS.depth, flags.explicitly_set(absl_flags.FLAGS))


if __name__ == '__main__':
    entry_point.run_script(main, max_arguments=2, prints_result=True)
'''


@pytest.fixture(scope='module')
def script(tmp_path_factory):
    from tests.conftest import ROOT
    path = tmp_path_factory.mktemp('script') / 'do.py'
    path.write_text(SCRIPT.lstrip().format(root=ROOT))

    def run(*arguments, stdout=subprocess.PIPE, head=False):
        command = [sys.executable, str(path), *arguments]
        if head:
            command = ['bash', '-c', '"$@" | head -c 1; exit ${PIPESTATUS[0]}', 'bash', *command]
        done = subprocess.run(
            command, stdout=stdout, stderr=subprocess.PIPE, universal_newlines=True)
        return done.returncode, done.stdout, done.stderr
    return run


@pytest.mark.parametrize('flag', ['--help', '-h'])
def test_help_lists_the_flags_of_the_script_and_exits_0(script, flag):
    code, out, err = script(flag)
    assert code == 0 and not err
    assert out.startswith('Do one thing.')
    assert '--depth: Depth of it.' in out and '--dataset' in out and '--verbosity' not in out


def test_the_first_chart_of_a_user_is_drawn_quietly(script, tmp_path, monkeypatch):
    """Matplotlib logs that it has found the fonts."""
    monkeypatch.setenv('MPLCONFIGDIR', str(tmp_path))
    code, _, stderr = script('draw')
    assert (code, stderr) == (0, '') and os.listdir(str(tmp_path))


def test_the_old_name_of_a_flag_still_works(script):
    assert script('--data_set=x', 'a')[1] == "a 3 {'dataset': 'x'}\n"
    assert script('--dataset=x', 'a')[1] == "a 3 {'dataset': 'x'}\n"


def test_the_working_directory_may_be_gone(tmp_path):
    script = f'cd {tmp_path}; rmdir {tmp_path}; {sys.executable} {ROOT}/tools/sample_images.py '
    for flag, code in (('--help', 0), ('--cuont=3', 2)):
        done = subprocess.run(['bash', '-c', script + flag], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, universal_newlines=True)
        assert (done.returncode, 'Traceback' in done.stderr) == (code, False), done.stderr
        tmp_path.mkdir()


def test_a_whole_number_may_have_an_exponent(script):
    assert script('--depth=1e4', 'a')[1] == "a 10000 {'depth': 10000}\n"


def test_a_tilde_is_the_home_directory(script):
    home = os.path.expanduser('~')
    assert script('--dataset=~/a', '~/b')[1] == f"{home}/b 3 {{'dataset': '{home}/a'}}\n"
    assert script('--paths=~/a', '--paths=b')[1] == f"None 3 {{'paths': ['{home}/a', 'b']}}\n"


@pytest.mark.parametrize('arguments, code, message', [
    (['--dept=3'], 2, 'unknown flag --dept; did you mean --depth?'),
    (['--nonsense'], 2, 'unknown flag --nonsense ('),
    (['--depth=deep'], 2, '--depth=deep'),
    (['--depth=1.5'], 2, '--depth=1.5: not a whole number'),
    (['--depth=inf'], 2, '--depth=inf: not a whole number'),
    (['--dataset='], 2, '--dataset is empty: leave it out'),
    (['--paths=a', '--paths='], 2, '--paths is empty: leave it out'),
    (['--kinds='], 2, '--kinds is empty: leave it out'),
    (['--kinds=a,'], 2, '--kinds is empty: leave it out'),
    ([''], 2, 'an argument is empty'),
    (['--dataset=~no_such_user/a'], 2, 'no home directory ~no_such_user'),
    (['--data=a'], 2, 'did you mean --dataset?'),
    (['--max_depth=a'], 2, 'did you mean --depth?'),
    (['--lr=a'], 2, 'unknown flag --lr ('),  # no recipe here
    (['a', 'b', 'c'], 2, "unexpected argument 'c'; flags begin with --"),
    (['fail'], 1, 'no such thing: name another'),
    (['missing'], 1, '/nonexistent/file: No such file or directory'),
    (['exhaust', 'memory'], 1, 'error: out of memory: stop other processes, or lower the batch'),
    (['allocate'], 1, 'error: out of memory: stop other processes, or lower the batch size'),
    (['exhaust', 'disk'], 1, 'error: /a/b; No space left on device')])
def test_an_error_is_one_line_and_an_exit_code(script, arguments, code, message):
    done = script(*arguments)
    assert done[0] == code and message in done[2]
    assert done[2].startswith('error: ') and done[2].count('\n') == 1


@pytest.mark.parametrize('name, code', [
    ('TERM', 143), ('INT', 130), ('HUP', 129), ('QUIT', 131), ('USR1', 138), ('XCPU', 152)])
def test_a_signal_is_an_exit_code(script, name, code):
    assert script('signal', name) == (code, 'cleaned up\n', '')


def test_a_signal_counts_although_its_exception_is_lost_or_replaced(script):
    """As it may happen while TensorFlow is imported."""
    code, out, err = script('lose')
    assert (code, out) == (143, '') and 'Exception ignored' in err
    assert script('replace') == (143, '', '')


def test_a_signal_after_the_work_does_not_change_the_exit_code(script):
    assert script('late')[0] == 0


def test_a_full_disk_fails_the_script_whose_output_is_its_result(script):
    with open('/dev/full', 'w') as full:
        code, _, err = script('a', stdout=full)
    assert code == 1 and err == (
        'note: some output was lost (No space left on device)\n')


def test_help_for_a_reader_that_leaves_is_no_error(script):
    code, _, err = script('--help', head=True)
    assert code == 0 and err == ''


def test_help_of_a_training_is_in_groups():
    help_text = in_process.run('train.py', '--help').stdout
    _, recipe, *_ = re.split(r'\n\n.*:\n(?=  --)', help_text)[1:]
    assert '--batch_size: Images per step.' in recipe
    assert '--optimizer: Optimizer. One of: sgd, momentum' in recipe
    assert '--steps' not in recipe and 'checkpoints and progress:\n' in help_text
