"""doctor.py in a copy of the checkout, with a Python whose packages a test decides."""

import re

import pytest

from tests import in_process
from tests.tools.helpers import Checkout, one_line, write_script

REQUIREMENTS = '''\
tensorflow==1.15.5   # the last 1.x
numpy==1.18.5        # TensorFlow 1.15 requires a version below 1.19
Pillow==9.5.0        # reads image files
absl-py==2.1.0       # flags
'''
INSTALLED = {'tensorflow': '1.15.5', 'numpy': '1.18.5', 'pillow': '9.5.0', 'absl_py': '2.1.0'}


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    names = [f'requirements/{engine}.txt' for engine in ('tf1', 'tf1-mkl', 'tf2')]
    names += [f'permafrost/{name}.py' for name in (
        '__init__', 'cli/__init__', 'cli/console', 'cli/interpreter', 'errors', 'files', 'machine')]
    copy = Checkout(tmp_path, 'tools/doctor.py', 'tools/setup.sh', *names)
    for name in ('PYTHONPATH', 'LD_LIBRARY_PATH', 'PYTHONOPTIMIZE'):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv('PERMAFROST_CACHE', str(tmp_path / 'cache'))
    monkeypatch.setenv('PERMAFROST_DATA', '')
    return copy


def run_doctor(checkout):
    result = in_process.run(str(checkout.folder / 'tools/doctor.py'))
    return result.code, result.stdout


def test_a_fresh_checkout_lacks_an_engine_and_the_data(checkout):
    code, out = run_doctor(checkout)
    assert code == 1
    assert re.search(r'^FAIL  engine +none is set up: `make setup`', out, re.MULTILINE)
    assert re.search(r'^FAIL  data +data_batch_1.bin, .* missing .*`make data`', out, re.MULTILINE)
    assert re.search(r'^note  tf1 +not set up: ', out, re.MULTILINE)
    assert [line.split()[0] for line in out.splitlines()[-3:]] == ['FAIL', 'FAIL', 'doctor:']
    assert out.endswith('doctor: 2 checks failed. Fix them from the top, then run doctor again.\n')


def test_an_engine_that_cannot_be_set_up_says_what_to_install(checkout, monkeypatch):
    for name, value in checkout.environment.items():
        monkeypatch.setenv(name, value)
    assert 'tf1 needs Python 3.7' in run_doctor(checkout)[1]
    checkout.add_python()
    _, out = run_doctor(checkout)
    assert re.search(r'not set up: `make setup ENGINE=\S+` builds it with /', out)


def test_complete_data_and_a_complete_default_engine_are_enough(checkout, tmp_path):
    data = tmp_path / 'cache/data/cifar10'
    data.mkdir(parents=True)
    for name in [f'data_batch_{i}.bin' for i in range(1, 6)] + ['test_batch.bin']:
        with open(str(data / name), 'wb') as stream:
            stream.truncate(30730000)
    set_up_tf1(checkout, INSTALLED)
    code, out = run_doctor(checkout)
    assert code == 0 and 'FAIL' not in out and out.endswith('doctor: the default engine can run.\n')
    assert re.search(r'^ok    tf1 +in .venv/tf1, the default$', out, re.MULTILINE)
    (data / 'test_batch.bin').write_bytes(b'short')
    code, out = run_doctor(checkout)
    assert code == 1 and re.search(r'^FAIL  data +test_batch.bin missing or incomplete', out, re.M)
    (data / 'test_batch.bin').unlink()
    (data / 'test_batch.bin').symlink_to('of a disk that is not there')
    code, dangling = run_doctor(checkout)
    assert code == 1 and lines_of(dangling, 'data') == lines_of(out, 'data')


def set_up_tf1(checkout, packages, code=0):
    """Make a fake environment of tf1 with `packages`, the default one."""
    (checkout.folder / 'requirements/tf1.txt').write_text(REQUIREMENTS)
    lines = ''.join(f'echo {name}=={version}\n' for name, version in packages.items())
    write_script(checkout.folder / '.venv/tf1/bin/python', f'{lines}exit {code}\n')
    (checkout.folder / '.venv/default').symlink_to('tf1')


@pytest.mark.parametrize('change, problem', [
    ({'numpy': '1.21.6'}, 'numpy is 1.21.6, the pinned version is 1.18.5 (TensorFlow 1.15 requires '
                          'a version below 1.19): `.venv/tf1/bin/python -m pip install -r '),
    ({'tensorflow': None}, 'tensorflow is missing, the pinned version is 1.15.5'),
    ({'pillow': '9.4.0'}, 'Pillow is 9.4.0, the pinned version is 9.5.0'),
])
def test_a_wrong_package_is_named_with_the_reason_for_the_pin(checkout, change, problem):
    packages = {name: version for name, version in dict(INSTALLED, **change).items() if version}
    set_up_tf1(checkout, packages)
    code, out = run_doctor(checkout)
    lines = ''.join(line + '\n' for line in out.splitlines() if re.match(r'\w+ +tf1 ', line))
    assert code == 1 and problem in one_line(lines) and lines.startswith('FAIL')


def test_an_environment_that_does_not_run_is_to_be_rebuilt(checkout):
    set_up_tf1(checkout, {}, code=1)
    code, out = run_doctor(checkout)
    folder = checkout.folder / '.venv/tf1'
    assert code == 1
    assert f'does not run: `rm -rf {folder}`, then `make setup ENGINE=tf1`' in out


def lines_of(out, name):
    return [line for line in out.splitlines() if line.split()[1] == name]


def test_a_requirement_counts_on_its_machine(checkout, monkeypatch):
    """A name is pinned twice where another machine has another package."""
    set_up_tf1(checkout, INSTALLED)
    with open(str(checkout.folder / 'requirements/tf1.txt'), 'a') as stream:
        stream.write('here==1; sys_platform != "plan9"  # always\n'
                     'there==1; sys_platform == "plan9"  # never\n')
    line, = lines_of(run_doctor(checkout)[1], 'tf1')
    assert 'here is missing' in line and 'there' not in line.split('(')[0].replace('here is', '')


@pytest.mark.parametrize('variables, name, status, expected', [
    ({'PYTHONPATH': '{folder}'}, 'PYTHONPATH', 'note', 'unset PYTHONPATH'),
    ({'LD_LIBRARY_PATH': '/x:{folder}'}, 'libraries', 'FAIL', 'libtensorflow_framework.so.2'),
    ({'PYTHONOPTIMIZE': '2'}, 'PYTHONOPTIMIZE', 'note', 'unset PYTHONOPTIMIZE'),
    ({'PYTHONHOME': '', 'PYTHONPATH': '/x', 'LD_LIBRARY_PATH': ':/x'}, 'libraries', 'ok', '')])
def test_variables_for_another_python_are_named(
        checkout, monkeypatch, tmp_path, variables, name, status, expected):
    (tmp_path / 'numpy').mkdir()
    (tmp_path / 'libtensorflow_framework.so.2').write_text('')
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value.format(folder=tmp_path))
    out = run_doctor(checkout)[1]
    line, = lines_of(out, name)
    assert line.startswith(status) and expected in line
    assert lines_of(out, 'PYTHONHOME') == []


def test_missing_tools_are_notes_with_the_package_to_install(checkout, monkeypatch):
    monkeypatch.setenv('PATH', str(checkout.bin))
    out = run_doctor(checkout)[1]
    for name, package in (('make', 'make'), ('g++', 'g++'), ('libpng', 'libpng-dev'),
                          ('libjpeg', 'libjpeg-dev'), ('tcmalloc', 'libtcmalloc-minimal4')):
        line, = lines_of(out, name)
        assert line.startswith('note') and 'apt-get install' in line and package in line
    write_script(checkout.folder / 'label_image/build/label_image', '')
    out = run_doctor(checkout)[1]
    assert lines_of(out, 'label_image') and not lines_of(out, 'make'), 'as in an image'


def test_help_is_not_a_check(checkout):
    result = in_process.run(str(checkout.folder / 'tools/doctor.py'), '--help')
    assert result.code == 0 and result.stdout.startswith('Check this machine')
    result = in_process.run(str(checkout.folder / 'tools/doctor.py'), '--engine=tf1')
    assert result.code == 2 and not result.stdout
    assert "unexpected argument '--engine=tf1'" in one_line(result.stderr)
