"""Threads and environment are set before TensorFlow is imported; what the user sets comes first."""

import importlib
import os
import subprocess
import sys
import types

import pytest

from permafrost import engines, machine
from permafrost.errors import UserError
from tests.processes import ROOT

SCRIPT = '''
import os, sys, warnings
from types import SimpleNamespace
from permafrost import engines
assert 'tensorflow' not in sys.modules
config = engines.prepare({})
print(config.intra_op_parallelism_threads, config.inter_op_parallelism_threads,
      os.environ.get('OMP_NUM_THREADS'))
assert 'keras' not in sys.modules
warnings.filterwarnings('error', module='__main__')
try:
    warnings.warn('of our own', DeprecationWarning)
except DeprecationWarning:
    print('not hidden')
'''

CONVOLVE = r"""
import re
from permafrost import engines
config = engines.prepare()
import tensorflow.compat.v1 as tf
x = tf.placeholder(tf.float32, [1, 32, 32, 3])
y = tf.nn.conv2d(x, tf.ones([3, 3, 3, 16]), 1, 'SAME')
metadata = tf.RunMetadata()
with tf.Session(config=config) as session:
    session.run(y, {x: [[[[1.] * 3] * 32] * 32]}, run_metadata=metadata,
                options=tf.RunOptions(trace_level=tf.RunOptions.FULL_TRACE))
labels = [node.timeline_label for device in metadata.step_stats.dev_stats
          for node in device.node_stats]
print(*re.findall(r'\w*Conv2D\w*(?=\()', ' '.join(labels)))
"""


def _prepare(argument='', **environment):
    """Return the line that prepare prints, and the thread settings after it."""
    process = subprocess.run([sys.executable, '-c', SCRIPT.format(argument)], cwd=ROOT,
                             env=dict(os.environ, **environment), stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, universal_newlines=True)
    assert process.returncode == 0, process.stderr
    assert not process.stderr, 'the import must be quiet'
    lines = process.stdout.splitlines()
    assert lines[-1] == 'not hidden'
    return lines[0], lines[-2].split()


def test_the_engine_and_its_settings_are_printed():
    line, (intra, inter, omp_threads) = _prepare()
    assert line.startswith(f'engine: {engines.installed()} (TensorFlow ')
    assert f'intra {intra}, inter {inter}' in line
    assert omp_threads == (intra if engines.installed() == 'tf1-mkl' else 'None')
    assert 'OMP_NUM_THREADS' not in line, 'only what the user has changed'


def test_arguments_and_the_environment_come_first():
    values = 'SimpleNamespace(deterministic=False, intra_op_threads=3, inter_op_threads=5)'
    line, settings = _prepare(values, OMP_NUM_THREADS='7')
    assert settings == ['3', '5', '7']
    assert ('OMP_NUM_THREADS=7 (from the environment)' in line) == (
        engines.installed() == 'tf1-mkl')


@pytest.mark.parametrize('engine, flags, expected', [
    ('tf2', 'avx avx2', {'TF_ENABLE_ONEDNN_OPTS': '1'}), ('tf2', 'avx', {}), ('tf2', '', {}),
    ('tf1', 'avx avx2', {})])
def test_tf2_uses_onednn_wherever_it_is_fast(monkeypatch, engine, flags, expected):
    monkeypatch.setattr(machine, 'cpu_info', {'flags': flags}.get)
    assert engines.kernel_settings(engine, 2) == expected


@pytest.mark.skipif(engines.installed() != 'tf2' or 'avx2' not in machine.cpu_info('flags'),
                    reason='only tf2 chooses kernels by the processor')
@pytest.mark.parametrize('setting', [None, '0'])
def test_the_user_may_turn_onednn_off(setting, monkeypatch):
    monkeypatch.delenv('TF_ENABLE_ONEDNN_OPTS', False)
    if setting:
        monkeypatch.setenv('TF_ENABLE_ONEDNN_OPTS', setting)
    line, operation = subprocess.check_output(
        [sys.executable, '-c', CONVOLVE], cwd=ROOT, universal_newlines=True).splitlines()
    assert ('TF_ENABLE_ONEDNN_OPTS=0 (from the environment)' in line) == (setting == '0')
    assert operation.startswith('_Mkl') == (setting is None)


def test_a_program_that_uses_keras_keeps_it(monkeypatch):
    keras = types.ModuleType('keras')
    monkeypatch.setitem(sys.modules, 'keras', keras)
    with engines.without_keras(), pytest.raises(ImportError):
        importlib.import_module('keras')
    assert sys.modules['keras'] is keras


def test_threads_by_engine():
    cores = machine.cores()
    assert engines.threads('tf2') == (cores, cores)
    assert engines.threads('tf1-mkl') == (cores, 2)
    assert engines.threads('tf2', inter=3) == (cores, 3)
    assert engines.threads('tf2', deterministic=True) == (1, 1)
    assert engines.threads('tf1', deterministic=True, intra=2) == (2, 1)


def test_no_tensorflow_is_one_line(monkeypatch):
    monkeypatch.setattr(sys, 'path', [])
    with pytest.raises(UserError, match='run make setup'):
        engines.installed()


@pytest.mark.parametrize('name, expected', [
    ('tensorflow-1.15.5', 'tf1'), ('intel_tensorflow-1.15.2', 'tf1-mkl'),
    ('tensorflow_cpu-2.21.0', 'tf2'), ('tensorflow-2.21.0', 'tf2')])  # not on x86-64: without -cpu
def test_the_engine_is_known_by_its_package(tmp_path, monkeypatch, name, expected):
    (tmp_path / f'{name}.dist-info').mkdir()
    (tmp_path / 'tensorflow_estimator-2.15.0.dist-info').mkdir()
    monkeypatch.setattr(sys, 'path', [str(tmp_path)])
    assert engines.installed() == expected


@pytest.mark.skipif(not os.access('/sys/fs/cgroup/cpu/cpu.cfs_quota_us', os.W_OK),
                    reason='needs write access to the control groups of version 1')
def test_a_quota_of_the_kernel_limits_threads():
    group = f'/sys/fs/cgroup/cpu/permafrost-test-{os.getpid()}'
    os.mkdir(group)
    try:
        with open(group + '/cpu.cfs_quota_us', 'w') as stream:
            stream.write('50000')
        code = (f'open("{group}/tasks", "w").write("0")\n'
                'from permafrost import machine; print(machine.cpu_quota(), machine.cores())')
        output = subprocess.check_output([sys.executable, '-c', code], cwd=ROOT)
    finally:
        os.rmdir(group)
    assert output.split() == [b'0.5', b'1']


def test_a_processor_without_avx_is_one_line(monkeypatch):
    """TensorFlow would abort, and its message would be lost."""
    monkeypatch.setattr(engines.platform, 'machine', lambda: 'x86_64')
    monkeypatch.setattr(machine, 'cpu_info', {'flags': 'fpu sse4_2'}.get)
    with pytest.raises(UserError, match='no AVX'):
        engines.prepare()


@pytest.mark.parametrize('message, reason', [
    ('undefined symbol: x', 'undefined symbol: x'),
    ('Traceback:\n  File\nImportError: x.so: undefined symbol: y\n\nFailed\n', 'symbol: y')])
def test_a_tensorflow_that_does_not_load_is_one_line(tmp_path, message, reason):
    (tmp_path / 'tensorflow').mkdir()
    (tmp_path / 'tensorflow/__init__.py').write_text(f'raise ImportError({message!r})')
    code = f"""import sys
sys.path.insert(0, {str(tmp_path)!r})
from permafrost import engines
from permafrost.errors import UserError
try:
    engines.prepare()
except UserError as error:
    print(error)"""
    for value, fix in (('/opt/lib', 'Unset LD_LIBRARY_PATH'), ('', 'Run make doctor.')):
        environment = {name: text for name, text in os.environ.items()
                       if name not in ('PYTHONPATH', 'LD_PRELOAD')}
        line = subprocess.check_output(
            [sys.executable, '-c', code], cwd=ROOT, universal_newlines=True,
            env=dict(environment, LD_LIBRARY_PATH=value))
        assert line.startswith('TensorFlow does not load: ') and f'{reason}. {fix}' in line


@pytest.mark.parametrize('engine, flags, expected', [
    ('tf2', 'avx2 avx512_bf16', True), ('tf2', 'amx_bf16 sse', True), ('tf2', 'avx512f', False),
    ('tf2', '', False), ('tf1', 'avx512_bf16', False), ('tf1-mkl', 'avx512_bf16', False)])
def test_bfloat16_needs_tf2_and_a_processor_that_has_it(monkeypatch, engine, flags, expected):
    monkeypatch.setattr(machine, 'cpu_info', {'flags': flags}.get)
    assert engines.has_bfloat16(engine) == expected


@pytest.mark.skipif(engines.installed() != 'tf2', reason='TensorFlow 1.15 cannot tell the name')
def test_a_gpu_is_named_with_the_versions(monkeypatch):
    import tensorflow.compat.v1 as tf
    assert not engines.gpu_name() and 'gpu' not in engines.versions()
    names = {'list_physical_devices': lambda kind: [kind],
             'get_device_details': lambda gpu: {'device_name': 'NVIDIA H200'}}
    for name, function in names.items():
        monkeypatch.setattr(tf.config.experimental, name, function)
    assert engines.versions()['gpu'] == 'NVIDIA H200'


def test_memory_of_a_gpu_is_left_to_other_processes():
    assert engines.prepare().gpu_options.allow_growth
