"""Scripts that the wrong Python starts, and environment variables that are for another Python."""

import ast
import glob
import os
import shutil
import subprocess
import sys

import pytest

from permafrost.cli import interpreter
from tests.processes import ROOT
from tests.tools.helpers import one_line, write_script

SCRIPTS = sorted(
    [name for name in os.listdir(ROOT) if name.endswith('.py')] + ['benchmarks/__main__.py'] +
    [f'{folder}/{name}' for folder in ('tools', 'tools/dev')
     for name in os.listdir(os.path.join(ROOT, folder)) if name.endswith('.py')
     and name not in ('doctor.py', 'check_manifests.py')])  # they run on any Python 3.7
BARE = [sys.executable, '-S']  # a Python without packages


@pytest.fixture
def checkout(tmp_path):
    """A copy of the scripts, with a Python in .venv/default that prints how it is called."""
    for name in [*SCRIPTS, 'permafrost/__init__.py', 'permafrost/cli/__init__.py',
                 'permafrost/cli/interpreter.py']:
        path = tmp_path / 'a b' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(os.path.join(ROOT, name), str(path))
    write_script(tmp_path / 'a b/.venv/default/bin/python', 'echo $$ "$@"; exit 7')
    return tmp_path / 'a b'


def run(command, cwd, **environment):
    """Run a command; return (process id, exit code, stdout, stderr)."""
    variables = {name: value for name, value in os.environ.items()
                 if name not in ('ENGINE', 'PYTHONPATH')}
    process = subprocess.Popen([str(word) for word in command], cwd=str(cwd),
                               env=dict(variables, **environment), stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               universal_newlines=True)
    stdout, stderr = process.communicate(timeout=120)
    return process.pid, process.returncode, stdout, stderr


@pytest.mark.parametrize('script', SCRIPTS)
def test_a_script_starts_itself_again_in_the_environment(checkout, tmp_path, script):
    pid, code, out, err = run([*BARE, checkout / script, '--steps', '3'], tmp_path)
    assert (code, out) == (7, f'{pid} {checkout}/{script} --steps 3\n')
    python = checkout / '.venv/default/bin/python'
    assert one_line(err) == f'note: {sys.executable} has no absl: continuing with {python}\n'


def test_engine_chooses_the_environment(checkout):
    write_script(checkout / '.venv/tf1/bin/python', 'echo tf1')
    assert run([*BARE, 'train.py'], checkout, ENGINE='tf1')[2] == 'tf1\n'


def test_without_an_environment_one_line_says_how_to_make_it(checkout):
    _, code, out, err = run([*BARE, 'eval.py'], checkout, ENGINE='tf2')
    assert (code, out) == (1, '')
    assert one_line(err).endswith(f'has no absl: run make setup ENGINE=tf2 in {checkout}\n')


@pytest.mark.parametrize('name, code', [('lint-3.13-1', 7), ('tf1-3.7-1', 1)])
def test_an_active_environment_without_tensorflow_is_left(checkout, tmp_path, name, code):
    """But not that of an engine, which is damaged: the user has chosen it."""
    folder = tmp_path / name
    subprocess.run([sys.executable, '-m', 'venv', '--without-pip', str(folder)], check=True)
    (folder / '.complete').write_text('')
    assert run([folder / 'bin/python', 'train.py'], checkout)[1] == code


def test_a_script_starts_itself_again_once(checkout):
    """Its environment may be damaged."""
    write_script(checkout / '.venv/default/bin/python', f'exec {sys.executable} -S "$@"')
    _, code, _, err = run([*BARE, 'train.py'], checkout)
    assert code == 1 and len(err.splitlines()) == 2
    assert err.endswith(f'has no absl: run make doctor in {checkout}\n')


def test_packages_for_another_python_are_not_enough(checkout, tmp_path):
    for name in interpreter.NEEDED:
        (tmp_path / name).mkdir()
        (tmp_path / name / '__init__.py').write_text('raise ImportError("\\nof Python 3.6\\n")')
    _, code, _, err = run([*BARE, 'train.py'], checkout, PYTHONPATH=str(tmp_path))
    assert code == 7 and 'cannot load numpy' in one_line(err)


def test_pythonpath_hides_no_package_of_the_environment(tmp_path):
    (tmp_path / 'google').mkdir()
    (tmp_path / 'numpy').mkdir()
    (tmp_path / 'numpy/__init__.py').write_text('raise ImportError')
    code = ('import os, sys, numpy; from permafrost.cli import interpreter\n'
            'assert sys.argv == ["-c"]')
    assert run([sys.executable, '-c', code], ROOT, PYTHONPATH=str(tmp_path))[1] == 1
    code = f'from permafrost.cli import interpreter; interpreter.check(); {code}'
    _, code, _, err = run([sys.executable, '-c', code], ROOT,
                          PYTHONPATH=f'{tmp_path}{os.pathsep}{ROOT}')
    assert code == 0, err
    assert f'PYTHONPATH has packages of another Python in {tmp_path}' in one_line(err)


def test_pythonpath_may_name_the_checkout_and_other_modules(tmp_path, monkeypatch):
    (tmp_path / 'yaml').mkdir()
    site_packages = os.path.join(sys.prefix, 'lib')
    monkeypatch.setenv('PYTHONPATH', os.pathsep.join([str(tmp_path), ROOT, site_packages]))
    assert interpreter.hiding_folders() == []


def test_a_folder_in_the_checkout_that_hides_tensorflow_is_named(tmp_path):
    (tmp_path / 'tensorflow').mkdir()
    code = (f'import sys; sys.path.insert(0, {str(tmp_path)!r}); '
            'from permafrost.cli import interpreter; interpreter.check()')
    assert run([sys.executable, '-c', code], ROOT)[1:] == (0, '', ''), 'not a package'
    (tmp_path / 'tensorflow/__init__.py').write_text('')
    _, code, _, err = run([sys.executable, '-c', code], ROOT)
    assert code == 1
    assert one_line(err) == (f'error: {tmp_path}/tensorflow/__init__.py hides the package '
                             'tensorflow: rename or move it\n')


@pytest.mark.parametrize('variables', [
    {'PYTHONSAFEPATH': '1'}, {'PYTHONOPTIMIZE': '2'}, {'PYTHONDONTWRITEBYTECODE': '1'}])
def test_variables_of_python_change_nothing(tmp_path, variables):
    _, code, out, err = run([sys.executable, f'{ROOT}/info.py', '--recipes'], tmp_path, **variables)
    assert code == 0 and 'tutorial (' in out, err
    needs_docstrings = sys.version_info < (3, 8) and 'PYTHONOPTIMIZE' in variables
    assert err.count('note:') == needs_docstrings, err


@pytest.mark.parametrize('script', [*SCRIPTS, 'permafrost/cli/interpreter.py'])
def test_any_python_can_parse_what_it_may_be_given(script):
    """Python 2.7 stops before the first line if there is a later one that it cannot parse."""
    if script.startswith('tools/dev'):
        pytest.skip('for developers')
    with open(os.path.join(ROOT, script), encoding='ascii') as stream:
        tree = ast.parse(stream.read())
    newer = (ast.JoinedStr, ast.AnnAssign, ast.Nonlocal, ast.Starred, ast.AsyncFunctionDef)
    for node in ast.walk(tree):
        assert not isinstance(node, newer), f'{script}:{node.lineno}'
        if isinstance(node, ast.FunctionDef):
            arguments = node.args.args + node.args.kwonlyargs
            assert not (node.returns or node.args.kwonlyargs or any(
                each.annotation for each in arguments)), f'{script}:{node.lineno}'


@pytest.mark.parametrize('version', ['2.7', '3.6'])
def test_an_old_python_starts_the_environment(checkout, version):
    paths = [shutil.which(f'python{version}'), *glob.glob(
        os.path.expanduser(f'~/.pyenv/versions/{version}.*/bin/python'))]
    works = [path for path in paths if path and run([path, '-c', ''], checkout)[1] == 0]
    if not works:
        pytest.skip(f'no Python {version} on this machine')
    _, code, _, err = run([works[0], 'train.py'], checkout)
    assert code == 7 and f'is Python {version}: continuing with' in one_line(err)
