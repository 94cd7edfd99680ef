"""label_image.sh: builds when needed, finds the library and the graph."""

import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from tests.label_image.program import ENGINES, ROOT, execute

LIBRARIES = [f'--library={{root}}/.venv/{name}' for name in ('default', 'litert', 'onnxruntime')]


def test_script_builds_the_program_and_finds_library_and_model(graph, picture, tmp_path):
    if not ENGINES:
        pytest.skip('there is no engine in .venv')
    script = os.path.join(ROOT, 'label_image.sh')
    os.utime(os.path.join(ROOT, 'label_image', 'main.cc'))
    first, second = (execute(script, graph, picture, '--', '--top=1', ENGINE=ENGINES[0])
                     for _ in range(2))
    assert first.returncode == 0 and first.stdout.count('%') == 1, first.stderr
    assert first.stderr == 'building label_image\n'
    assert (second.returncode, second.stderr, second.stdout) == (0, '', first.stdout)
    for code, arguments, message in [
            (2, ['nonesuch'], "no graph, run, model or image 'nonesuch'"),
            (2, ['nonesuch.jpg'], "no graph, run, model or image 'nonesuch.jpg'"),
            (2, ['--top=1', graph], 'flags go after --'),
            (2, [graph, '--top=1'], 'flags go after --'),
            (1, [str(tmp_path / 'none.pb')], 'No such file'),
            (2, [], '')]:  # the usage is on stdout
        process = execute(script, *arguments, ENGINE=ENGINES[0])
        assert process.returncode == code and message in process.stderr, process.stderr
    assert first.stdout.startswith(f'graph: {graph}\n')
    for flag in ('-h', '--help'):
        process = execute(script, flag)
        assert process.returncode == 0 and process.stdout.startswith('usage: ')
        assert process.stdout.endswith('\n./label_image.sh tuto -- --help lists the flags.\n')
    process = execute(script, 'tuto', '--', '--topp=1', ENGINE=ENGINES[0])
    assert process.returncode == 2 and process.stderr == (
        'label_image: unknown flag --topp; did you mean top? '
        '(./label_image.sh tuto -- --help lists all flags)\n')
    process = execute(script, graph, 'i.png', ENGINE='nonesuch')
    assert process.returncode == 1 and 'make setup ENGINE=nonesuch' in process.stderr


@pytest.mark.parametrize('arguments', [[''], ['', 'photo.jpg'], ['tuto', ''], ['tuto', '', '--']])
def test_an_empty_argument_is_of_a_variable_that_is_not_set(arguments):
    process = execute(os.path.join(ROOT, 'label_image.sh'), *arguments)
    assert (process.returncode, process.stdout, process.stderr) == (
        2, '', 'label_image.sh: an argument is empty: leave it out, or give it a value\n')


@pytest.mark.skipif(not ENGINES, reason='there is no engine in .venv')
def test_the_first_argument_never_ends_in_the_answer_of_another_graph(
        program, graph, picture, tmp_path):
    """A run is its frozen graph; other files are named; only an image leaves the default."""
    def label(*arguments):
        return execute(os.path.join(ROOT, 'label_image.sh'), *arguments, ENGINE=ENGINES[0])
    assert label(picture, '--', '--top=1').stdout.startswith(
        f'graph: {ROOT}/trained_models/tuto.pb (tuto, accuracy 0.8161)\n')
    run = tmp_path / 'a run'
    (run / 'train').mkdir(parents=True)
    (run / 'config.json').write_text('{}')
    process = label(run, picture)
    assert process.returncode == 1 and not process.stdout
    assert (f'is not frozen: freeze it first: {ROOT}/bin/permafrost freeze --run {tmp_path}/a\\ run'
            '\n') in process.stderr
    for name in ('b.pb', 'teacher.pb'):  # the run learnt from the second
        shutil.copy(graph, str(run / name))
    assert label(str(run) + '/', picture).stdout.startswith(f'graph: {run}/b.pb\n')
    (run / 'train' / 'checkpoint').write_text('')  # of a later training
    os.utime(str(run / 'b.pb'), (0, 0))
    assert 'has been trained on since it was frozen' in label(run, picture).stderr
    shutil.copy(graph, str(run / 'c.pb'))
    process = label(run, picture)
    assert process.returncode == 2 and 'has several frozen graphs' in process.stderr
    shutil.copy(graph, str(tmp_path / 'model.PB'))
    assert label(tmp_path / 'model.PB', picture).stdout.startswith(f'graph: {tmp_path}/model.PB\n')
    (tmp_path / 'onnx.pb').write_bytes(b'\x08\x08\x12\x07pytorch' + bytes(99))
    (tmp_path / 'photo.heic').write_bytes(b'\0\0\0\x18ftypheic' + bytes(99))
    for name, code, message in (('onnx.pb', 1, 'is an ONNX model'),
                                ('photo.heic', 1, 'is not a complete frozen graph'),
                                ('train', 2, "no graph, run, model or image 'train'")):
        path = tmp_path / name
        process = label(path if path.exists() else name, picture)
        assert process.returncode == code and message in process.stderr and not process.stdout


@pytest.mark.skipif(not ENGINES, reason='there is no engine in .venv')
def test_a_run_is_preferred_to_the_model_of_its_name(program, graph, picture, tmp_path,
                                                     monkeypatch):
    """As in eval.py --graph. A link to the script finds the models."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'tuto' / 'train').mkdir(parents=True)
    (tmp_path / 'tuto' / 'config.json').write_text('{}')
    shutil.copy(graph, str(tmp_path / 'tuto' / 'tuto.pb'))
    (tmp_path / 'link.sh').symlink_to(os.path.join(ROOT, 'label_image.sh'))
    for name, start in (('tuto', 'graph: tuto/tuto.pb\n'), ('./tuto', 'graph: ./tuto/tuto.pb\n'),
                        ('alex2', f'graph: {ROOT}/trained_models/alex2.pb ')):
        process = execute('./link.sh', name, picture, ENGINE=ENGINES[0])
        assert process.stdout.startswith(start), process.stderr
    process = execute('./link.sh', './alex2', picture, ENGINE=ENGINES[0])
    assert process.returncode == 2 and "image './alex2'" in process.stderr


@pytest.fixture
def unbuilt(tmp_path):
    """(folder, make): a Makefile whose tools `sed` and `c++` are stand-ins, with nothing built."""
    for name in ('Makefile', 'backends/tensorflow/python_symbols.txt'):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(os.path.join(ROOT, 'label_image', name), str(tmp_path / name))
    for folder in ('bin', 'build'):
        (tmp_path / folder).mkdir()

    def run(name, script, *targets):
        (tmp_path / 'build/checked').write_text('')
        (tmp_path / 'bin' / name).write_text('#!/bin/bash\n' + script)
        (tmp_path / 'bin' / name).chmod(0o755)
        return execute('make', '-C', tmp_path, 'CXX=c++', *targets,
                       PATH=f"{tmp_path}/bin:{os.environ['PATH']}").returncode
    return tmp_path, run


@pytest.mark.parametrize('name', ['build/python_stub.cc', 'build/exports'])
def test_a_file_that_is_written_in_part_is_not_kept(unbuilt, name):
    folder, make = unbuilt
    assert make('sed', 'echo half; exit 1', name) != 0 and not (folder / name).exists()
    assert make('sed', 'echo whole', name) == 0 and 'whole' in (folder / name).read_text()


def test_two_links_at_once_do_not_write_to_one_file(unbuilt):
    folder, make = unbuilt
    for name in ('main.o', 'python_stub.cc', 'python_stub.o', 'exports', 'allocator'):
        (folder / 'build' / name).write_text('')
    link = 'while [ "$1" != -o ]; do shift; done; echo "$2" >> names; echo whole > "$2"'
    for _ in range(2):
        assert make('c++', link, 'build/label_image') == 0
        assert (folder / 'build/label_image').read_text() == 'whole\n'
        (folder / 'build/label_image').unlink()
    names = set((folder / 'names').read_text().split()) - {'/dev/null'}  # of the allocator
    assert len(names) == 2


@pytest.mark.parametrize('name', ['build/main.o', 'build/python_stub.o'])
def test_objects_are_compiled_with_the_flags_that_the_headers_were_found_with(unbuilt, name):
    folder, make = unbuilt
    for source in ('main.cc', 'build/python_stub.cc'):
        (folder / source).write_text('')
    assert make('c++', 'echo "$@" >> calls', 'CPPFLAGS=-I/headers', name) == 0
    assert '-I/headers' in (folder / 'calls').read_text()


def test_an_allocator_that_is_installed_later_is_linked(unbuilt):
    folder, make = unbuilt
    for name in ('main.o', 'python_stub.cc', 'python_stub.o', 'exports'):
        (folder / 'build' / name).write_text('')
    script = ('case "$*" in *tcmalloc*) [ -e tcmalloc ] || exit 1; esac\n'
              'while [ "$1" != -o ]; do shift; done; echo "$@" >> links; echo whole > "$2"')

    def links():
        """Return the arguments of each link of the program until now."""
        assert make('c++', script, 'build/label_image') == 0
        return [line for line in (folder / 'links').read_text().splitlines() if 'null' not in line]
    assert len(links()) == 1 and len(links()) == 1
    (folder / 'tcmalloc').write_text('')
    assert ['tcmalloc' in line for line in links()] == [False, True]
    assert len(links()) == 2
    (folder / 'tcmalloc').unlink()
    assert ['tcmalloc' in line for line in links()] == [False, True, False]


@pytest.fixture
def compared(tmp_path):
    """compared(*arguments, cwd): what the script starts the program with, and its errors.

    There is one model, net.pb, and its run; the program prints its arguments. There is no Makefile,
    as in an image whose base has make.
    """
    root = tmp_path / 'copy'
    for folder in ('trained_models', 'label_image/build', 'run/train', 'litert', 'bin',
                   *(f'.venv/{name}' for name in ('default', 'litert', 'onnxruntime'))):
        (root / folder).mkdir(parents=True)
    for name in ('trained_models/net.pb', 'run/net.pb', 'run/config.json', 'litert/a.pb',
                 'a.tflite', 'a.onnx'):
        (root / name).write_text('')
    for name, text in (
            ('label_image/build/label_image', 'printf "%s\\n" "$@"'), ('bin/make', 'exit 1')):
        (root / name).write_text('#!/bin/bash\n' + text)
        (root / name).chmod(0o755)
    shutil.copy(os.path.join(ROOT, 'label_image.sh'), str(root))

    def run(*arguments):
        return subprocess.run(
            ['./label_image.sh', *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, universal_newlines=True, cwd=str(root), timeout=20,
            env=dict(os.environ, ENGINE='', PATH=f"{root}/bin:{os.environ['PATH']}"))
    return run, str(root)


@pytest.mark.parametrize('arguments, expected', [
    (['net', 'litert=net', 'onnxruntime/float32=a.onnx', 'litert=run', '--', '--compare'],
     ['--graph={root}/trained_models/net.pb', *LIBRARIES, LIBRARIES[1], '--compare', '--',
      'litert={root}/trained_models/net.pb', 'onnxruntime/float32=a.onnx', 'litert=run/net.pb']),
    (['litert=a.tflite', '--', '--compare', '--runs', '2'],
     ['--graph=litert=a.tflite', LIBRARIES[1], '--compare', '--runs', '2']),
    (['--', '--compare', '--top', '3', 'a.tflite', '--json', 'a.onnx'],
     ['--graph=a.tflite', *LIBRARIES[1:], '--compare', '--top', '3', '--json', '--', 'a.onnx']),
    (['--', '--compare'], ['--compare']),
    (['litert/a.pb', '--', '--compare'], ['--graph=litert/a.pb', LIBRARIES[0], '--compare']),
    (['--', '--graph', 'a.onnx', '--benchmark'],
     [LIBRARIES[2], '--graph', 'a.onnx', '--benchmark']),
    (['net', 'i.png', '--', '--labels'],  # which has no value
     ['--graph={root}/trained_models/net.pb', LIBRARIES[0], '--labels']),
    (['net', '--', '-batch_file', 'x.bin', '-json', '--input_mean', '-10'],
     ['--graph={root}/trained_models/net.pb', LIBRARIES[0], '--batch_file', 'x.bin', '--json',
      '--input_mean', '-10']),
    (['net', 'i.png', '--', '--json', 'j.png', '--', '--k.png'],
     ['--graph={root}/trained_models/net.pb', LIBRARIES[0], '--json', '--', 'i.png', 'j.png',
      '--k.png'])])
def test_the_program_gets_models_and_the_libraries_that_they_need(compared, arguments, expected):
    run, root = compared
    process = run(*arguments)
    assert (process.returncode, process.stderr) == (0, '')
    assert process.stdout.splitlines() == [each.format(root=root) for each in expected]


def test_a_model_of_a_comparison_that_there_is_not_is_one_line(compared):
    process = compared[0]('net', 'litert=none', '--', '--compare')
    assert (process.returncode, process.stderr) == (
        2, "label_image.sh: no graph, run, model or image 'none' (models: net)\n")


@pytest.mark.parametrize('name, arguments', [
    ('a.pbtxt', ['a.pbtxt', 'net']), ('a.pbtxt', ['openvino=a.pbtxt']),
    ('saved', ['net', 'saved'])])
def test_a_comparison_needs_frozen_graphs(compared, name, arguments):
    run, root = compared
    os.mkdir(root + '/saved')
    for path in ('a.pbtxt', 'saved/saved_model.pb'):
        open(f'{root}/{path}', 'w').close()
    process = run(*arguments, '--', '--compare')
    assert (process.returncode, process.stderr) == (
        2, f'label_image.sh: {name}: --compare needs a frozen graph; write one first: '
        f'{root}/tools/write_graph.py {name} FILE.pb\n')


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_no_temporary_graph(compared, number):
    """To the whole group, as Ctrl-C is sent."""
    root = compared[1]
    for folder in ('tmp', 'tools', '.venv/default/bin'):
        os.makedirs(f'{root}/{folder}', exist_ok=True)
    open(root + '/a.pbtxt', 'w').close()
    # Not a shell: that goes on if the command that it waits for has just ended.
    os.symlink(sys.executable, root + '/.venv/default/bin/python')
    with open(root + '/tools/write_graph.py', 'w') as stream:
        stream.write('import time\nopen("started", "w").close()\ntime.sleep(60)\n')
    process = subprocess.Popen(
        ['./label_image.sh', 'a.pbtxt', 'i.png'], cwd=root, start_new_session=True,
        env=dict(os.environ, ENGINE='', TMPDIR=root + '/tmp'))
    while not os.path.exists(root + '/started'):
        assert process.poll() is None
        time.sleep(0.01)
    assert len(os.listdir(root + '/tmp')) == 1
    os.killpg(process.pid, number)
    assert process.wait(timeout=20) != 0 and os.listdir(root + '/tmp') == []


def test_an_environment_that_cannot_be_linked_is_not_built(tmp_path):
    """Where .venv cannot be written to, as in an image that is read-only."""
    for name in ('tools/setup.sh', 'requirements/litert.txt'):
        (tmp_path / name).parent.mkdir()
        shutil.copy(os.path.join(ROOT, name), str(tmp_path / name))
    (tmp_path / '.venv').write_text('in the way')
    process = execute(tmp_path / 'tools/setup.sh', 'litert', PERMAFROST_CACHE='/dev/null/none')
    assert process.returncode == 1 and process.stderr.count('\n') == 1
    assert process.stderr.startswith(f'setup: cannot write to {tmp_path}/.venv/. ')


def test_a_graph_is_named_once(compared):
    process = compared[0]('net', 'i.png', '--', '--graph=other.pb')
    assert (process.returncode, process.stderr.partition('net.pb')[2]) == (
        2, ' and --graph=other.pb: name one graph\n')


def test_a_directory_that_is_no_model_is_named(compared):
    process = compared[0]('litert', 'i.png')
    assert (process.returncode, process.stderr) == (
        2, 'label_image.sh: litert is not a run, a graph or a SavedModel\n')


def test_a_pipe_may_hold_an_image_but_the_graph_is_named_first(compared):
    """To look at its first bytes would take them away."""
    run, root = compared
    os.mkfifo(root + '/pipe')
    process = run('pipe')
    assert (process.returncode, process.stderr) == (
        2, 'label_image.sh: pipe is a pipe: name the graph first: ./label_image.sh GRAPH pipe\n')


@pytest.mark.parametrize('environment, message', [
    ({'CXX': 'nonesuch++'}, 'no C++ compiler (nonesuch++): apt-get install g++'),
    ({'CPPFLAGS': '-nostdinc'}, 'no headers of libpng and libjpeg: apt-get install libpng-dev'),
    ({'CXX': 'g++', 'CPPFLAGS': '-nostdinc++'}, 'g++ has no <filesystem>: use GCC 9 or newer'),
    ({}, 'cannot write ')])
def test_build_problem_is_one_line(graph, tmp_path, environment, message):
    shutil.copy(os.path.join(ROOT, 'label_image.sh'), str(tmp_path))
    shutil.copytree(os.path.join(ROOT, 'label_image'), str(tmp_path / 'label_image'),
                    ignore=shutil.ignore_patterns('build'))
    (tmp_path / '.venv' / 'default').mkdir(parents=True)
    if not environment:
        (tmp_path / 'label_image' / 'build').write_text('in the way')
    process = execute(tmp_path / 'label_image.sh', graph, 'i.png', ENGINE='', **environment)
    assert process.returncode == 1
    building, line = process.stderr.splitlines()
    assert building == 'building label_image' and line.startswith('label_image: ' + message)
