"""bin/permafrost, with a Python that prints how it is called."""

import glob
import os
import re
import shlex
import shutil
import sys

import pytest
import tensorboard

from permafrost.cli import commands
from tests import in_process
from tests.processes import ROOT
from tests.tools.helpers import Checkout, one_line, write_script

STUB = 'echo $$ "$PERMAFROST_COMMAND" "${@#"$ROOT"/}"'
# {command: what it runs}
RUNS = dict({verb: script for script, verb in commands.VERBS.items()},
            label='label_image.sh', tensorboard=(
                '-W ignore -c import sys; del sys.path[0]; from tensorboard import main; '
                'main.run_main()'))


@pytest.fixture
def checkout(tmp_path):
    copy = Checkout(tmp_path / 'a b', 'bin/permafrost', 'permafrost/__init__.py',
                    'permafrost/errors.py')
    for engine in ('tf1', 'tf2'):
        write_script(copy.folder / f'.venv/{engine}/bin/python', STUB)
    (copy.folder / '.venv/default').symlink_to('tf2')
    write_script(copy.folder / 'label_image.sh',
                 'echo $$ "$PERMAFROST_COMMAND" label_image.sh "$@"')
    copy.environment['ROOT'] = str(copy.folder)
    return copy


def run(checkout, *arguments, cwd=None, command=None):
    """Run bin/permafrost, or the path `command`; return (exit code, stdout, stderr)."""
    process = checkout.start('-c', 'cd "$1"; shift; "$@"', 'bash', cwd or checkout.folder,
                             command or str(checkout.folder / 'bin/permafrost'), *arguments)
    stdout, stderr = process.communicate(timeout=60)
    return process.returncode, stdout, stderr


def test_its_commands_are_those_that_messages_name():
    with open(os.path.join(ROOT, 'bin/permafrost')) as stream:
        table = re.search(r"commands='(.*?)'", stream.read(), re.DOTALL).group(1)
    scripts = dict(line.split()[1::-1] for line in table.splitlines())
    scripts.pop('label_image.sh', None), scripts.pop('tensorboard')
    assert {script: verb for script, verb in commands.VERBS.items()
            if script.endswith('.py')} == scripts


@pytest.mark.parametrize('command', sorted(set(RUNS) - {'doctor'}))
def test_a_command_replaces_this_process_by_its_script(checkout, tmp_path, command):
    process = checkout.start('bin/permafrost', command, '--steps', 'a b')
    stdout, stderr = process.communicate(timeout=60)
    flags = '--logdir runs --host localhost ' if command == 'tensorboard' else ''
    assert (process.returncode, stderr) == (0, '')
    assert stdout == f'{process.pid} bin/permafrost {RUNS[command]} {flags}--steps a b\n'


def test_tensorboard_listens_on_all_interfaces_only_if_asked(checkout):
    assert '--host' not in run(checkout, 'tensorboard', '--bind_all')[1]


@pytest.mark.parametrize('command', ['trian', 'tensorboard'])
def test_it_runs_no_file_of_the_current_directory(checkout, tmp_path, command):
    for name in ('difflib', 'random', 'tensorboard'):
        (tmp_path / f'{name}.py').write_text('print("foreign")')
    write_script(checkout.folder / '.venv/tf2/bin/python', f'exec {sys.executable} "$@"')
    _, out, err = run(checkout, command, '--version_tb', cwd=str(tmp_path))
    assert 'foreign' not in out + err
    assert out.strip() == tensorboard.__version__ if command == 'tensorboard' else 'train?' in err


def test_it_ignores_cdpath(checkout):
    checkout.environment['CDPATH'] = '.:/tmp'
    code, out, err = run(checkout, 'train', command='bin/permafrost')
    assert (code, err) == (0, '') and out.endswith(' bin/permafrost train.py\n')


def test_it_works_from_any_directory_and_through_links(checkout, tmp_path):
    (tmp_path / 'home').mkdir()
    path = str(checkout.folder / 'bin/permafrost')
    _, out, err = run(checkout, 'train', cwd=str(tmp_path))
    assert not err and out.split(' ', 1)[1] == f'{path.replace(" ", chr(92) + " ")} train.py\n'
    (tmp_path / 'home/first').symlink_to('../a b/bin/permafrost')
    (tmp_path / 'home/permafrost').symlink_to(tmp_path / 'home/first')
    checkout.environment['PATH'] += f':{tmp_path}/home'
    _, out, err = run(checkout, 'eval', cwd=str(tmp_path), command='permafrost')
    assert not err and out.split(' ', 1)[1] == 'permafrost eval.py\n'


def test_engine_is_part_of_the_commands_to_run_next(checkout):
    checkout.environment['ENGINE'] = 'tf1'
    write_script(checkout.folder / '.venv/tf1/bin/python', 'echo "$PERMAFROST_COMMAND" tf1')
    assert run(checkout, 'train', command='bin/permafrost') == (
        0, 'ENGINE=tf1 bin/permafrost tf1\n', '')


def test_the_container_says_how_it_is_started(checkout):
    checkout.environment['PERMAFROST_COMMAND'] = 'permafrost'
    assert run(checkout, 'train')[1].split()[1:] == ['permafrost', 'train.py']


def test_help_lists_the_commands(checkout):
    code, out, err = run(checkout, 'help', command='bin/permafrost')
    assert (code, err) == (0, '') and out.startswith('usage: bin/permafrost COMMAND [FLAGS]\n')
    assert set(re.findall(r'^  (\w+)  ', out, re.MULTILINE)) == set(RUNS)
    assert run(checkout, command='bin/permafrost') == run(
        checkout, '--help', command='bin/permafrost') == (code, out, err)


@pytest.mark.parametrize('command, close', [
    ('trian', 'train'), ('train.py', 'train'), ('evaluate', 'eval'), ('doctor ', 'doctor')])
def test_an_unknown_command_is_answered_with_the_nearest(checkout, command, close):
    shutil.rmtree(str(checkout.folder / '.venv'))
    code, out, err = run(checkout, command)
    assert (code, out, err) == (2, '', f"permafrost: unknown command '{command}'\n"), 'no Python'
    write_script(checkout.bin / 'python3', f'exec {sys.executable} "$@"')
    code, out, err = run(checkout, command)
    assert code == 2 and not out
    assert f"unknown command '{command}'; did you mean {close}?" in one_line(err)
    assert 'local_cluster' in err


@pytest.mark.parametrize('command', ['train', 'tensorboard'])
def test_without_an_environment_it_says_how_to_make_one(checkout, command):
    checkout.environment['ENGINE'] = 'tf1-mkl'
    code, out, err = run(checkout, command)
    assert (code, out) == (1, '')
    assert one_line(err) == ('permafrost: no environment .venv/tf1-mkl: run make setup '
                             f'ENGINE=tf1-mkl in {checkout.folder}\n')


def test_pythonhome_is_ignored_and_named(checkout):
    """Python itself would end in a page that does not name it."""
    checkout.environment['PYTHONHOME'] = '/nonexistent'
    write_script(checkout.folder / '.venv/tf2/bin/python', f'exec {sys.executable} -c "print(7)"')
    code, out, err = run(checkout, 'train')
    assert (code, out) == (0, '7\n') and 'PYTHONHOME=/nonexistent' in one_line(err)


def test_doctor_runs_with_any_python(checkout):
    shutil.rmtree(str(checkout.folder / '.venv'))
    code, _, err = run(checkout, 'doctor')
    assert code == 1 and 'no Python 3.7 or newer runs' in one_line(err)
    write_script(checkout.bin / 'python3', '[ "$1" = -c ] || echo "$@"')
    assert run(checkout, 'doctor', '--x')[1] == f'{checkout.folder}/tools/doctor.py --x\n'


TAKE_PATHS = ('pack', 'sweep', 'compare')  # first, without a flag


def documented_commands():
    """Yield the words of each `bin/permafrost` command in README.md and docs/."""
    for path in [os.path.join(ROOT, 'README.md'), *glob.glob(os.path.join(ROOT, 'docs', '*.md'))]:
        with open(path) as stream:
            text = stream.read().replace('\\\n', '')  # a command may go on in the next line
            for name, value in re.findall(r"^(\w+)='(.*)'$", text, re.MULTILINE):
                text = text.replace(f'${name}', value)
            for line in re.findall(r'^ *bin/permafrost (\w.*)$', text, re.MULTILINE):
                yield shlex.split(line, comments=True)


def test_commands_in_the_documentation_are_valid():
    documented = list(documented_commands())
    assert len(documented) > 20
    for words in documented:
        assert words[0] in RUNS, words
        arguments = words[1:]
        while words[0] in TAKE_PATHS and arguments and not arguments[0].startswith('-'):
            del arguments[0]
        if RUNS[words[0]].endswith('.py'):
            in_process.parse_flags(RUNS[words[0]], arguments)
