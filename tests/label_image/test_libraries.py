"""Where the program finds TensorFlow: here, directories laid out as the official libtensorflow.

Such a directory is made of links to an engine's own libraries, which have the same C API.
"""

import glob
import json
import os

import pytest

from tests.label_image.program import ENGINES, ROOT

# By engine: the major version, and the library of its wheel that has the C API. Intel's build has
# no official libtensorflow.
WHEELS = {'tf1': (1, 'tensorflow_core/python/_pywrap_tensorflow_internal.so'),
          'tf2': (2, 'tensorflow/libtensorflow_cc.so.2')}
WITH_WHEELS = [engine for engine in ENGINES if engine in WHEELS]


def unpacked(engine, folder, framework=True):
    """`folder` as after unpacking a libtensorflow: include/, and libraries with their links."""
    version, name = WHEELS[engine]
    api, = glob.glob(os.path.join(ROOT, '.venv', engine, 'lib', 'python*', 'site-packages', name))
    package = api[:api.index('site-packages/') + len('site-packages/')] + name.split('/')[0]
    (folder / 'include' / 'tensorflow' / 'c').mkdir(parents=True)
    (folder / 'lib').mkdir()
    files = {'libtensorflow': api}
    if framework:
        files['libtensorflow_framework'] = os.path.join(
            package, 'libtensorflow_framework.so.%d' % version)
    for stem, target in files.items():
        whole = folder / 'lib' / ('%s.so.%d.0.0' % (stem, version))
        whole.symlink_to(os.path.realpath(target))
        (folder / 'lib' / ('%s.so.%d' % (stem, version))).symlink_to(whole.name)
        (folder / 'lib' / (stem + '.so')).symlink_to('%s.so.%d' % (stem, version))
    return version


@pytest.mark.parametrize('place', ['', 'lib', 'lib/libtensorflow.so.{}'])
@pytest.mark.parametrize('engine', WITH_WHEELS)
def test_official_layout(program, graph, tmp_path, engine, place):
    tmp_path = tmp_path / 'of[1]*'  # what glob would take for patterns
    tmp_path.mkdir()
    version = unpacked(engine, tmp_path)
    for name in ('libtensorflow.so', 'libtensorflow_framework.so'):  # some packages leave them out
        (tmp_path / 'lib' / name).unlink()
    answer = json.loads(program('--graph=' + graph, '--benchmark', '--json', '--runs=1',
                                '--repeats=1', '--library',
                                str(tmp_path / place.format(version))))
    assert answer['library'] == str(tmp_path / 'lib' / ('libtensorflow.so.%d' % version))
    assert answer['tensorflow'].startswith('%d.' % version)


@pytest.mark.parametrize('linked', [True, False])
@pytest.mark.parametrize('engine', WITH_WHEELS)
def test_the_system_finds_it(graph, program, tmp_path, engine, linked):
    """Without --library, where the system's loader looks: here by LD_LIBRARY_PATH."""
    name = 'libtensorflow.so'
    version = unpacked(engine, tmp_path)
    if not linked:  # a package for running has no link for linkers
        (tmp_path / 'lib' / name).unlink()
        name += '.%d' % version
    answer = json.loads(program('--graph=' + graph, '--benchmark', '--json', '--runs=1',
                                '--repeats=1', LD_LIBRARY_PATH=str(tmp_path / 'lib')))
    assert answer['library'] == name


@pytest.mark.parametrize('engine', WITH_WHEELS)
def test_half_a_libtensorflow_is_one_line(refusal, graph, tmp_path, engine):
    version = unpacked(engine, tmp_path, framework=False)
    assert 'libtensorflow_framework.so.%d' % version in refusal(
        1, '--graph=' + graph, '--benchmark', '--library', tmp_path)
