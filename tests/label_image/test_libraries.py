"""Where the program finds TensorFlow, here in directories with the layout of the official archive.

Such a directory contains links to an engine's own libraries, which have the same C API.
"""

import glob
import json
import os
import shutil

import pytest

from tests.label_image.program import ENGINES, PROGRAM, ROOT, execute, library

# By engine: the major version, and the library of its wheel that contains the C API. There is no
# official libtensorflow of Intel's build.
WHEELS = {'tf1': (1, 'tensorflow_core/python/_pywrap_tensorflow_internal.so'),
          'tf2': (2, 'tensorflow/libtensorflow_cc.so.2')}
WITH_WHEELS = [engine for engine in ENGINES if engine in WHEELS]
ONE_RUN = ['--benchmark', '--json', '--runs=1', '--repeats=1']


def unpack(engine, folder, framework=True):
    """Make `folder` look like an unpacked libtensorflow. Return its major version."""
    version, name = WHEELS[engine]
    api, = glob.glob(os.path.join(ROOT, '.venv', engine, 'lib', 'python*', 'site-packages', name))
    package = api[:api.index('site-packages/') + len('site-packages/')] + name.split('/')[0]
    (folder / 'include' / 'tensorflow' / 'c').mkdir(parents=True)
    (folder / 'lib').mkdir()
    files = {'libtensorflow': api}
    if framework:
        files['libtensorflow_framework'] = os.path.join(
            package, f'libtensorflow_framework.so.{version}')
    for stem, target in files.items():
        full_name = folder / 'lib' / f'{stem}.so.{version}.0.0'
        full_name.symlink_to(os.path.realpath(target))
        (folder / 'lib' / f'{stem}.so.{version}').symlink_to(full_name.name)
        (folder / 'lib' / f'{stem}.so').symlink_to(f'{stem}.so.{version}')
    return version


@pytest.mark.parametrize('path', ['', 'lib', 'lib/libtensorflow.so.{}'])
@pytest.mark.parametrize('engine', WITH_WHEELS)
def test_library_in_an_unpacked_archive(program, graph, tmp_path, engine, path):
    folder = tmp_path / 'of[1]*'  # glob patterns must not be expanded
    folder.mkdir()
    version = unpack(engine, folder)
    for name in ('libtensorflow.so', 'libtensorflow_framework.so'):  # some packages omit them
        (folder / 'lib' / name).unlink()
    answer = json.loads(program('--graph=' + graph, *ONE_RUN, '--library',
                                folder / path.format(version)))
    assert answer['library'] == str(folder / 'lib' / f'libtensorflow.so.{version}')
    assert answer['tensorflow'].startswith(f'{version}.')


@pytest.mark.parametrize('linker_name', [True, False])
@pytest.mark.parametrize('engine', WITH_WHEELS)
def test_without_flag_the_system_library_is_used(graph, program, tmp_path, engine, linker_name):
    name = 'libtensorflow.so'
    version = unpack(engine, tmp_path)
    if not linker_name:  # runtime packages do not contain it
        (tmp_path / 'lib' / name).unlink()
        name += f'.{version}'
    answer = json.loads(program('--graph=' + graph, *ONE_RUN,
                                LD_LIBRARY_PATH=str(tmp_path / 'lib')))
    assert answer['library'] == name


@pytest.mark.parametrize('engine', WITH_WHEELS)
def test_the_framework_library_is_not_taken_for_tensorflow(program, graph, tmp_path, engine):
    unpack(engine, tmp_path)
    answer = json.loads(program('--graph=' + graph, *ONE_RUN, '--library',
                                tmp_path / 'lib' / 'libtensorflow_framework.so', library(engine)))
    assert WHEELS[engine][1] in answer['library']


@pytest.mark.parametrize('engine', WITH_WHEELS)
def test_missing_framework_library_is_named(error_line, graph, tmp_path, engine):
    version = unpack(engine, tmp_path, framework=False)
    assert f'libtensorflow_framework.so.{version}' in error_line(
        1, '--graph=' + graph, '--benchmark', '--library', tmp_path)


@pytest.mark.skipif('tf2' not in WITH_WHEELS, reason='1.15 finds its own libraries first')
def test_libraries_of_another_tensorflow_in_the_way_are_named(program, graph, tmp_path):
    other = glob.glob('/lib/*/libm.so.6')[0]  # any library without TensorFlow's symbols
    shutil.copy(other, str(tmp_path / 'libtensorflow_framework.so.2'))
    process = execute(PROGRAM, '--graph=' + graph, library('tf2'), *ONE_RUN,
                      LD_LIBRARY_PATH=str(tmp_path))
    assert process.returncode == 1 and process.stderr.count('\n') == 1
    assert "Unset LD_LIBRARY_PATH, which may point to another version's libraries" in process.stderr


def test_a_damaged_library_of_the_system_is_named(program, graph, tmp_path):
    """Not the one that was looked for last."""
    (tmp_path / 'libtensorflow.so').write_bytes(b'not a library')
    process = execute(PROGRAM, '--graph=' + graph, *ONE_RUN, LD_LIBRARY_PATH=str(tmp_path))
    assert (process.returncode, process.stderr) == (
        1, f'label_image: cannot load TensorFlow: {tmp_path}/libtensorflow.so: file too short '
        '(give a library with --library)\n')


@pytest.mark.skipif(not os.access('/sys/fs/cgroup/cpu/cpu.cfs_quota_us', os.W_OK),
                    reason='needs write access to the control groups of version 1')
def test_threads_follow_the_cpu_quota(program, graph, tmp_path):
    group = f'/sys/fs/cgroup/cpu/permafrost-label-{os.getpid()}'
    os.mkdir(group)
    try:
        with open(group + '/cpu.cfs_quota_us', 'w') as stream:
            stream.write('50000')
        images = tmp_path / 'images.bin'
        images.write_bytes(bytes(1 + 32 * 32 * 3))
        process = execute('bash', '-c', f'echo $$ > {group}/tasks; exec "$@"', 'bash', PROGRAM,
                          '--graph=' + graph, library(ENGINES[0]), '--json', '--batch_file', images)
    finally:
        os.rmdir(group)
    assert json.loads(process.stdout)['threads'] == 1, process.stderr
