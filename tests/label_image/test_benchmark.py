"""Latency measurements, as far as they can be tested without a clock."""

import json
import subprocess

import pytest

from permafrost import machine
from tests.label_image.program import ENGINES, OWN, PROGRAM, TUTO, library


def linked_allocator():
    libraries = subprocess.check_output(['ldd', PROGRAM], universal_newlines=True)
    return 'tcmalloc' if 'tcmalloc' in libraries else 'libc'


@pytest.mark.parametrize('engine', ENGINES)
def test_benchmark_json(program, graph, engine):
    answer = json.loads(program('--graph=' + graph, library(engine), '--benchmark', '--json',
                                '--batch_size=4', '--runs=9', '--repeats=3', '--warmup=2',
                                '--threads=1', '--profile'))
    assert set(answer) == {
        'graph', 'runtime', 'version', 'tensorflow', 'precision', 'library', 'node', 'output',
        'input_shape', 'batch_size', 'threads',
        'warmup', 'runs', 'repeats', 'latency_ms', 'repeat_medians_ms', 'images_per_second',
        'peak_rss_mb', 'allocator', 'profile'}
    assert answer['tensorflow'].startswith('2.' if engine == 'tf2' else '1.15')
    assert (answer['node'], answer['input_shape']) == ('images', [1, 32, 32, 3])
    latency = answer['latency_ms']
    percentiles = [latency[name] for name in ('min', 'median', 'p90', 'p99')]
    assert percentiles == sorted(percentiles) and percentiles[0] > 0
    assert len(answer['repeat_medians_ms']) == 3
    assert answer['images_per_second'] == pytest.approx(4000 / latency['median'], rel=1e-6)
    assert answer['peak_rss_mb'] > 10 and answer['allocator'] == linked_allocator()
    nodes = [entry['node'] for entry in answer['profile']]  # 1.15 has a second record: "node:Op"
    assert len(nodes) == len(set(nodes)) and not any(':' in node for node in nodes), nodes
    assert any('Mean' in entry['op'] for entry in answer['profile']), answer['profile']


@pytest.mark.skipif('tf2' not in ENGINES or 'avx2' not in machine.cpu_info('flags'),
                    reason='only tf2 has two kinds of kernels, one for AVX2')
@pytest.mark.parametrize('setting', [None, '0'])
def test_tf2_uses_onednn_unless_it_is_turned_off(program, monkeypatch, setting):
    monkeypatch.delenv('TF_ENABLE_ONEDNN_OPTS', False)
    if setting:
        monkeypatch.setenv('TF_ENABLE_ONEDNN_OPTS', setting)
    answer = json.loads(program('--graph=' + TUTO, library('tf2'), '--benchmark', '--json',
                                '--runs=1', '--repeats=1', '--profile'))
    kernels = {entry['op'] for entry in answer['profile'] if 'Conv2D' in entry['op']}
    assert kernels and all(name.startswith('_Mkl') == (not setting) for name in kernels)


def test_feeding_inputs_skips_preprocessing(program, graph):
    flags = ['--graph=' + graph, OWN, '--benchmark', '--node=inputs', '--runs=3', '--repeats=1']
    name, first = program(*flags).splitlines()[:2]
    assert name == 'graph: ' + graph
    assert first.startswith('inputs -> predictions, batch size 1, 1 thread, TensorFlow ')
    answer = json.loads(program(*flags, '--json'))
    assert answer['input_shape'] == [1, 32, 32, 3] and 'profile' not in answer


@pytest.mark.parametrize('config, threads', [
    (b'\x10\x03', 3), (b'', machine.cores()), (b'\x10' + 9 * b'\xff' + b'\x01', machine.cores())])
def test_the_threads_of_a_session_configuration_are_stated(
        program, graph, tmp_path, config, threads):
    (tmp_path / 'config').write_bytes(config)  # intra_op_parallelism_threads: 3, none, -1
    for command in ('--benchmark', '--compare'):
        answer = json.loads(program('--graph=' + graph, OWN, command, '--json', '--runs=1',
                                    f'--session_config={tmp_path}/config', '--repeats=1'))
        assert answer['threads'] == threads
