"""setup.sh and the requirements, in copies of the checkout that need no network."""

import http.server
import os
import re
import shutil
import ssl
import subprocess
import sys
import threading

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
    assert code == 2
    engines, others = re.search(
        r"unknown engine 'tf3' \(choose from: (.*); or another environment: (.*)\)", one_line(err)
    ).groups()
    assert engines == 'tf1, tf1-mkl, tf2'
    known = {name[:-len('.txt')] for name in os.listdir(os.path.join(ROOT, 'requirements'))}
    assert {*engines.split(', '), *others.split(', ')} == known
    assert not (checkout.folder / '.venv').exists()


@pytest.mark.parametrize('flag', ['-h', '--help'])
def test_help_lists_the_environments(checkout, flag):
    code, out, err = checkout.run('tools/setup.sh', flag)
    assert code == 0 and not err and 'set -' not in out
    for name in os.listdir(os.path.join(ROOT, 'requirements')):
        assert re.search(rf'\b{name[:-len(".txt")]}\b', out)


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
    write_script(checkout.bin / f'python{VERSION}',  # as on Debian
                 'case $* in *sys.executable*) echo "$0"; exit ;; *ensurepip*) exit 1 ;; esac\n'
                 f'exec {os.path.realpath(sys.executable)} "$@"\n')
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
def test_an_interrupted_build_is_repeated_and_a_complete_one_kept(checkout, tmp_path):
    checkout.add_python()
    (tmp_path / 'other').mkdir()
    for name in ('pip', 'venv', 'ensurepip'):
        (tmp_path / f'other/{name}.py').write_text('raise ImportError')
    checkout.environment.update(  # of another Python and of another pip
        PYTHONPATH=str(tmp_path / 'other'), PYTHONHOME='/nonexistent', PIP_USER='1',
        PIP_TARGET=str(tmp_path / 'target'), PIP_PREFIX=str(tmp_path / 'prefix'))
    code, _, err = checkout.run('tools/setup.sh', 'lint')
    assert code == 0, err
    link = checkout.folder / '.venv/lint'
    assert (link / 'bin/python').exists() and not (checkout.folder / '.venv/default').exists()
    (link / 'mark').write_text('')
    (checkout.bin / 'ln').unlink()  # as if .venv were read-only
    assert checkout.run('tools/setup.sh', 'lint') == (0, '', '')
    (checkout.bin / 'ln').symlink_to(shutil.which('ln'))
    lock = os.readlink(str(link)) + '.lock'  # as if the cache were read-only
    os.unlink(lock)
    os.mkdir(lock)
    link.unlink()
    code, _, err = checkout.run('tools/setup.sh', 'lint')
    assert code == 0 and 'lint is ready in .venv/lint' in one_line(err)
    os.rmdir(lock)
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


@pytest.mark.slow
def test_a_certificate_that_python_does_not_know_is_named(checkout, tmp_path):
    """A proxy that inspects TLS has one of its own. pip says: no matching distribution."""
    key, certificate = str(tmp_path / 'key.pem'), str(tmp_path / 'certificate.pem')
    if not shutil.which('openssl'):
        pytest.skip('no openssl on this machine')
    subprocess.run(['openssl', 'req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '1',
                    '-subj', '/CN=localhost', '-keyout', key, '-out', certificate],
                   check=True, stderr=subprocess.DEVNULL)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = http.server.HTTPServer(('127.0.0.1', 0), http.server.SimpleHTTPRequestHandler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    checkout.add_python()
    (checkout.folder / 'requirements/lint.txt').write_text('ruff==0.0.0\n')
    checkout.environment['PIP_INDEX_URL'] = f'https://localhost:{server.server_port}/simple'
    code, _, err = checkout.run('tools/setup.sh', 'lint')
    server.shutdown()
    assert code == 1 and 'PIP_CERT' in err.splitlines()[-1], err


@pytest.mark.slow
def test_a_package_that_has_no_wheel_here_is_named_with_the_machine(checkout, tmp_path):
    checkout.add_python()
    (checkout.folder / 'requirements/lint.txt').write_text('tensorflow-cpu==2.21.0\n')
    checkout.environment.update(PIP_NO_INDEX='1', PIP_FIND_LINKS=str(tmp_path))
    code, _, err = checkout.run('tools/setup.sh', 'lint')
    assert code == 1
    assert f'tensorflow-cpu==2.21.0 and Python {VERSION} on {os.uname().sysname} ' in (
        err.splitlines()[-1])


def test_every_requirement_is_pinned_and_has_a_reason():
    for name in os.listdir(os.path.join(ROOT, 'requirements')):
        with open(os.path.join(ROOT, 'requirements', name)) as stream:
            for line in stream:
                assert re.match(r'#|[\w-]+==[\w.]+(; [^#]+?)? +# \w', line), f'{name}: {line}'


@pytest.mark.parametrize('name', ['tf2', 'onnxruntime'])
def test_each_machine_gets_one_tensorflow_of_the_same_version(name):
    """tensorflow-cpu has wheels for Linux on x86-64 alone."""
    with open(os.path.join(ROOT, f'requirements/{name}.txt')) as stream:
        pins = re.findall(r'^(tensorflow\S*)==(\S+); (.*?)  #', stream.read(), re.MULTILINE)
    machines = {('linux', 'x86_64'): 'tensorflow-cpu', ('linux', 'aarch64'): 'tensorflow',
                ('darwin', 'arm64'): 'tensorflow', ('darwin', 'x86_64'): 'tensorflow'}
    for (system, processor), expected in machines.items():
        variables = {'sys_platform': system, 'platform_machine': processor}
        assert [package for package, _, marker in pins if eval(marker, {}, variables)] == [expected]
    assert len({version for _, version, _ in pins}) == 1
