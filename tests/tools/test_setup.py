"""setup.sh and the requirements, in copies of the checkout that need no network."""

import os
import re
import sys

import pytest

from tests.processes import ROOT
from tests.tools.helpers import Checkout, one_line, write_script

VERSION = '.'.join(map(str, sys.version_info[:2]))


@pytest.fixture
def checkout(tmp_path):
    copy = Checkout(tmp_path, 'tools/setup.sh', 'requirements/tf1.txt', 'requirements/tf1-mkl.txt',
                    'requirements/tf2.txt', 'requirements/lint.txt')
    # An environment that installs nothing builds in seconds and without a network.
    (tmp_path / 'requirements/lint.txt').write_text('# nothing\n')
    return copy


def test_an_unknown_engine_lists_the_engines(checkout):
    code, _, err = checkout.run('tools/setup.sh', 'tf3')
    assert code == 2 and "'tf3' (choose from: tf1, tf1-mkl, tf2)" in one_line(err)
    assert not (checkout.folder / '.venv').exists()


@pytest.mark.parametrize('engine', ['tf1', 'tf1-mkl'])
def test_without_python_37_the_error_says_what_to_install(checkout, engine):
    # pyenv leaves such a shim; a newer Python may also have this name
    write_script(checkout.bin / 'python3.7',
                 'echo "pyenv: python3.7: command not found" >&2; exit 127')
    for arguments in ([engine], ['--find', engine]):
        code, out, err = checkout.run('tools/setup.sh', *arguments)
        assert code == 1 and not out
        assert 'needs Python 3.7' in one_line(err) and 'pyenv install 3.7' in err and 'tf2' in err


def test_without_python_37_the_default_engine_is_tf2(checkout):
    code, _, err = checkout.run('tools/setup.sh')
    assert code == 1  # there is no newer Python either
    assert 'engine tf2: TensorFlow 1.15 needs Python 3.7' in err
    assert 'tf2 needs one of Python 3.13, 3.12, 3.11, 3.10' in err


def test_find_prints_the_python_of_an_engine(checkout):
    checkout.add_python()
    code, out, _ = checkout.run('tools/setup.sh', '--find', 'lint')
    assert code == 0 and os.path.realpath(one_line(out).strip()) == os.path.realpath(sys.executable)
    assert VERSION in checkout.run('tools/setup.sh', '--versions', 'lint')[1].split()


def test_without_the_venv_module_the_error_names_the_package(checkout):
    (checkout.folder / 'debian').mkdir()
    (checkout.folder / 'debian/ensurepip.py').write_text('raise ImportError("as on Debian")')
    checkout.environment['PYTHONPATH'] = str(checkout.folder / 'debian')
    checkout.add_python()
    code, _, err = checkout.run('tools/setup.sh', 'lint')
    assert code == 1
    assert f'apt-get install python{VERSION}-venv' in one_line(err)


def test_a_full_disk_is_reported_before_the_build(checkout):
    checkout.add_python()
    (checkout.bin / 'df').unlink()
    write_script(checkout.bin / 'df', 'printf "Filesystem blocks\\n/dev/x 100 90 10 90%% /\\n"')
    code, _, err = checkout.run('tools/setup.sh', 'lint')
    assert code == 1 and 'disk full: lint needs 300 MB' in one_line(err)


@pytest.mark.slow
def test_an_interrupted_build_is_repeated_and_a_complete_one_kept(checkout):
    checkout.add_python()
    code, _, err = checkout.run('tools/setup.sh', 'lint')
    assert code == 0, err
    link = checkout.folder / '.venv/lint'
    assert (link / 'bin/python').exists() and not (checkout.folder / '.venv/default').exists()
    (link / 'mark').write_text('')
    assert checkout.run('tools/setup.sh', 'lint') == (0, '', '')
    assert (link / 'mark').exists()
    (link / '.complete').unlink()  # it is written last
    assert checkout.run('tools/setup.sh', 'lint')[0] == 0
    assert (link / '.complete').exists() and not (link / 'mark').exists()
    # other requirements, another environment
    (checkout.folder / 'requirements/lint.txt').write_text('# nothing more\n')
    environment = os.readlink(str(link))
    assert checkout.run('tools/setup.sh', 'lint')[0] == 0
    assert os.readlink(str(link)) != environment


def test_without_a_network_the_error_says_so(checkout):
    checkout.add_python()
    (checkout.folder / 'requirements/lint.txt').write_text('ruff==0.0.0\n')
    code, _, err = checkout.run('tools/setup.sh', 'lint')
    assert code == 1 and 'no network' in err.splitlines()[-1]
    assert not (checkout.folder / '.venv').exists()


def test_every_requirement_is_pinned_and_has_a_reason():
    for name in os.listdir(os.path.join(ROOT, 'requirements')):
        with open(os.path.join(ROOT, 'requirements', name)) as stream:
            for line in stream:
                assert re.match(r'#|[\w-]+==[\w.]+(; [^#]+?)? +# \w', line), f'{name}: {line}'
