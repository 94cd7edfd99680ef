"""setup.sh, run.sh, doctor and the requirements, in copies of the checkout that need no network."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TOOLS = ('awk bash cat cut df dirname env flock grep head kill ln mkdir readlink rm sed sha256sum '
         'sleep tail tee touch uname').split()


def script(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('#!/bin/bash\n' + text)
    path.chmod(0o755)


class Checkout:
    """A copy of some files of the repository, on a machine that has what the test gives it."""

    def __init__(self, folder, *names):
        self.folder = folder
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(os.path.join(ROOT, name), str(folder / name))
        self.bin = folder / 'bin'
        self.bin.mkdir()
        for tool in TOOLS:
            (self.bin / tool).symlink_to(shutil.which(tool))
        self.environment = {
            'PATH': str(self.bin), 'HOME': str(folder / 'home'), 'PYENV_ROOT': '/nonexistent',
            'PIP_CONFIG_FILE': os.devnull, 'PIP_INDEX_URL': 'http://127.0.0.1:9/simple'}

    def start(self, *command):
        return subprocess.Popen(
            ['bash'] + list(command), cwd=str(self.folder), env=self.environment,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            universal_newlines=True,
            # The tests may run in the background, where SIGINT is ignored, and bash cannot
            # trap what was ignored when it started.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))

    def run(self, *command):
        process = self.start(*command)
        out, err = process.communicate(timeout=120)
        return process.returncode, out, err

    def python(self):
        """Puts a Python on the PATH."""
        script(self.bin / ('python%d.%d' % sys.version_info[:2]),
               'exec %s "$@"\n' % os.path.realpath(sys.executable))


@pytest.fixture
def checkout(tmp_path):
    made = Checkout(tmp_path, 'tools/setup.sh', 'requirements/tf1.txt', 'requirements/tf1-mkl.txt',
                    'requirements/tf2.txt', 'requirements/lint.txt')
    # an environment that installs nothing builds in seconds and without a network
    (tmp_path / 'requirements/lint.txt').write_text('# nothing\n')
    return made


def one_line(text):
    assert text.count('\n') == 1, text
    return text


def test_unknown_engine_lists_the_engines(checkout):
    code, _, err = checkout.run('tools/setup.sh', 'tf3')
    assert code == 2 and "'tf3' (there are: tf1, tf1-mkl, tf2)" in one_line(err)
    assert not (checkout.folder / '.venv').exists()


@pytest.mark.parametrize('engine', ['tf1', 'tf1-mkl'])
def test_no_python37_says_what_to_install(checkout, engine):
    # a shim as pyenv leaves it: there, and failing; and a newer Python under the old name
    script(checkout.bin / 'python3.7', 'echo "pyenv: python3.7: command not found" >&2; exit 127')
    code, _, err = checkout.run('tools/setup.sh', engine)
    assert code == 1
    assert 'needs Python 3.7' in one_line(err) and 'pyenv install 3.7' in err and 'tf2' in err


def test_no_engine_and_no_python37_takes_tf2_and_says_why(checkout):
    code, _, err = checkout.run('tools/setup.sh')
    assert code == 1  # there is no newer Python either
    assert 'engine tf2: there is no Python 3.7' in err
    assert 'tf2 needs one of Python 3.13, 3.12, 3.11, 3.10' in err


def test_no_venv_module_names_the_package(checkout):
    (checkout.folder / 'debian').mkdir()
    (checkout.folder / 'debian/ensurepip.py').write_text('raise ImportError("as on Debian")')
    checkout.environment['PYTHONPATH'] = str(checkout.folder / 'debian')
    checkout.python()
    code, _, err = checkout.run('tools/setup.sh', 'lint')
    assert code == 1
    assert 'apt-get install python%d.%d-venv' % sys.version_info[:2] in one_line(err)


def test_disk_full(checkout):
    checkout.python()
    (checkout.bin / 'df').unlink()
    script(checkout.bin / 'df', 'printf "Filesystem blocks\\n/dev/x 100 90 10 90%% /\\n"')
    code, _, err = checkout.run('tools/setup.sh', 'lint')
    assert code == 1 and 'disk full: lint takes 200 MB' in one_line(err)


@pytest.mark.slow
def test_an_interrupted_build_is_built_again_and_a_whole_one_left_alone(checkout):
    checkout.python()
    code, _, err = checkout.run('tools/setup.sh', 'lint')
    assert code == 0, err
    link = checkout.folder / '.venv/lint'
    assert (link / 'bin/python').exists() and not (checkout.folder / '.venv/default').exists()
    (link / 'mark').write_text('')
    assert checkout.run('tools/setup.sh', 'lint') == (0, '', '')
    assert (link / 'mark').exists()
    (link / '.complete').unlink()  # which is written last
    assert checkout.run('tools/setup.sh', 'lint')[0] == 0
    assert (link / '.complete').exists() and not (link / 'mark').exists()
    # other requirements, another environment
    (checkout.folder / 'requirements/lint.txt').write_text('# nothing more\n')
    before = os.readlink(str(link))
    assert checkout.run('tools/setup.sh', 'lint')[0] == 0
    assert os.readlink(str(link)) != before


def test_no_network(checkout):
    checkout.python()
    (checkout.folder / 'requirements/lint.txt').write_text('ruff==0.0.0\n')
    code, _, err = checkout.run('tools/setup.sh', 'lint')
    assert code == 1 and 'no network' in err.splitlines()[-1]
    assert not (checkout.folder / '.venv').exists()


def test_every_requirement_is_pinned_and_has_a_reason():
    for name in os.listdir(os.path.join(ROOT, 'requirements')):
        with open(os.path.join(ROOT, 'requirements', name)) as stream:
            for line in stream:
                pinned = re.match(r'#|[\w-]+==[\w.]+(; [^#]+?)? +# \w', line)
                assert pinned, '%s: %s' % (name, line)


# run.sh

STUB = '''
case $1 in
  train.py)
    trap 'echo TERM >> signals; sleep 0.3; echo saved >> signals; exit 43' TERM
    trap 'echo INT >> signals; sleep 0.3; echo saved >> signals; exit 30' INT
    echo "$@" > trained
    [ -z "$TRAIN_CODE" ] || exit $TRAIN_CODE
    i=0  # a minute at most: nothing outlives a test that failed
    while [ -n "$TRAIN_WAITS" ] && [ $((i += 1)) -lt 1200 ]; do sleep 0.05; done ;;
  eval.py)
    echo "$@" > evaluated
    mkdir -p $3/eval/test
    echo "  \\"schedule\\": \\"$SCHEDULE\\"," > $3/config.json
    echo '{"accuracy": 0.1, "step": 1}' > $3/eval/test/metrics.jsonl  # an older one
    echo '{"accuracy": 0.8125, "class_accuracy": [1], "step": 30}' >> $3/eval/test/metrics.jsonl ;;
  freeze_graph.py) echo "$@" > frozen ;;
  tools/sample_images.py)
    mkdir -p $3
    touch $3/0-cat.png $3/1-ship.png ;;
esac
'''


@pytest.fixture
def runner(tmp_path):
    made = Checkout(tmp_path, 'run.sh')
    script(tmp_path / 'tools/setup.sh', 'exit')
    script(tmp_path / '.venv/stub/bin/python', STUB)
    (tmp_path / '.venv/default').symlink_to('stub')
    return made


@pytest.mark.parametrize('arguments, said', [
    (['tuto', '1.5'], "STEPS must be a positive integer, not '1.5'"),
    (['tuto', '0'], 'STEPS'), (['tuto', '-3'], 'STEPS'), (['tuto', '10', 'x'], 'too many')])
def test_run_refuses_what_cannot_be_meant(runner, arguments, said):
    code, _, err = runner.run('run.sh', *arguments)
    assert code == 2 and said in one_line(err)
    assert not (runner.folder / 'trained').exists()


def test_run_answers_a_misspelt_model_before_any_set_up():
    environment = dict(os.environ, PATH=os.path.dirname(sys.executable) + ':' + os.environ['PATH'],
                       ENGINE='none')
    done = subprocess.run(['./run.sh', 'tutoo'], cwd=ROOT, env=environment, timeout=60,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True)
    assert done.returncode == 2 and 'did you mean tuto?' in one_line(done.stderr)


def test_run_trains_then_evaluates_the_same_run(runner):
    (runner.folder / 'runs/nin0/1').mkdir(parents=True)
    code, out, err = runner.run('run.sh', 'nin0', '30')
    assert code == 0, err
    assert (runner.folder / 'trained').read_text() == (
        'train.py --model nin0 --steps 30 --run runs/nin0/2\n')
    assert (runner.folder / 'evaluated').read_text() == 'eval.py --run runs/nin0/2\n'
    assert (runner.folder / 'frozen').read_text() == (
        'freeze_graph.py --run runs/nin0/2 --output runs/nin0/2/nin0.pb\n')
    assert 'nin0, 30 steps on stub: accuracy 0.8125 on the 10,000 test images' in out
    assert 'runs/nin0/2' in out and 'train on' not in out
    help_text = runner.run('run.sh', '--help')[1]
    assert 'usage:' in help_text and '143' in help_text


def test_run_trains_as_long_as_the_recipe_says(runner):
    runner.environment['SCHEDULE'] = 'constant'
    code, out, err = runner.run('run.sh', 'nin0')
    assert code == 0, err
    assert (runner.folder / 'trained').read_text() == 'train.py --model nin0 --run runs/nin0/1\n'
    assert '--run runs/nin0/1 --resume --steps 60' in out


def test_run_labels_images_where_it_can(runner):
    script(runner.folder / 'label_image.sh', 'echo "$ENGINE $@" > labelled')
    script(runner.bin / 'make', 'echo "label_image: no C++ compiler (g++): apt-get ..."; exit 2')
    code, _, err = runner.run('run.sh', 'nin0', '30')
    assert code == 0 and 'no image was labelled: label_image: no C++ compiler' in err
    assert not (runner.folder / 'labelled').exists()
    shutil.rmtree(str(runner.folder / 'runs'))
    script(runner.bin / 'make', 'exit 0')
    code, _, err = runner.run('run.sh', 'nin0', '30')
    assert code == 0, err
    assert (runner.folder / 'labelled').read_text() == (
        'stub runs/nin0/1/nin0.pb runs/nin0/1/samples/0-cat.png runs/nin0/1/samples/1-ship.png\n')


def test_run_passes_on_the_code_of_a_failed_training(runner):
    runner.environment['TRAIN_CODE'] = '7'
    assert runner.run('run.sh')[0] == 7
    assert not (runner.folder / 'evaluated').exists()


@pytest.mark.parametrize('number, code', [(signal.SIGTERM, 43), (signal.SIGINT, 30)])
def test_run_waits_for_a_signalled_training_to_save(runner, number, code):
    runner.environment['TRAIN_WAITS'] = '1'
    process = runner.start('run.sh')
    deadline = time.time() + 120
    while not (runner.folder / 'trained').exists():
        assert time.time() < deadline and process.poll() is None
        time.sleep(0.02)
    process.send_signal(number)
    process.communicate(timeout=120)
    assert process.returncode == code
    sent = number.name[3:]
    # once: a second one would mean "stop without saving"
    assert (runner.folder / 'signals').read_text() == sent + '\nsaved\n'
    assert not (runner.folder / 'evaluated').exists()


# doctor

def doctor(folder, *arguments, **environment):
    done = subprocess.run(
        [sys.executable, str(folder / 'tools/doctor.py')] + list(arguments), timeout=60,
        stdout=subprocess.PIPE, env=dict(os.environ, **environment), universal_newlines=True)
    return done.returncode, done.stdout


@pytest.fixture
def patient(tmp_path):
    names = ['requirements/%s.txt' % engine for engine in ('tf1', 'tf1-mkl', 'tf2')]
    return Checkout(tmp_path, 'tools/doctor.py', 'tools/setup.sh', *names).folder


def test_doctor_of_a_fresh_checkout(patient):
    code, out = doctor(patient, PERMAFROST_CACHE=str(patient / 'cache'), PERMAFROST_DATA='')
    assert code == 1
    assert re.search(r'^FAIL  engine +none is set up: `make setup`', out, re.MULTILINE)
    assert re.search(r'^FAIL  data +data_batch_1.bin, .* missing .*`make data`', out, re.MULTILINE)
    assert re.search(r'^note  tf1 ', out, re.MULTILINE)


PINNED = {'tensorflow': '1.15.5', 'numpy': '1.18.5', 'protobuf': '3.20.3'}


@pytest.mark.parametrize('version, packages, said', [
    ('3.7.16', {}, None),
    ('3.8.1', {}, 'is Python 3.8, tf1 needs 3.7: `make setup ENGINE=tf1`'),
    ('3.7.16', {'protobuf': '4.21.0'}, "protobuf 4.21.0 is too new for TensorFlow 1.15"),
    ('3.7.16', {'numpy': '1.21.6'}, "numpy 1.21.6 is too new for TensorFlow 1.15"),
    ('3.7.16', {'tensorflow': 'missing'}, "tensorflow is missing, the pin is 1.15.5"),
])
def test_doctor_knows_what_breaks_tensorflow_115(patient, version, packages, said):
    (patient / 'requirements/tf1.txt').write_text(
        ''.join('%s==%s\n' % item for item in PINNED.items()))
    seen = dict(dict(PINNED, python=version), **packages)
    script(patient / 'fake', ''.join('echo %s %s\n' % item for item in seen.items()))
    code, out = doctor(patient, '--engine', 'tf1', '--python', str(patient / 'fake'))
    if said is None:
        assert code == 0 and out.startswith('ok') and out.count('\n') == 1
    else:
        assert code == 1 and said in one_line(out) and out.startswith('FAIL')
