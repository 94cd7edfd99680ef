"""The compiled kernels: machines that cannot compile them."""

import os

import pytest

from permafrost import engines, machine
from permafrost.training.kernels import library


@pytest.mark.parametrize('engine, flags', [
    ('tf2', 'avx2 avx512f'), ('tf2', 'avx512_bf16 amx_bf16'), ('tf1', 'avx512_bf16')])
def test_other_machines_compile_nothing(monkeypatch, tmp_path, capsys, engine, flags):
    pretend(monkeypatch, tmp_path, engine, flags)
    assert library.load.__wrapped__() is None
    assert not os.listdir(str(tmp_path)) and capsys.readouterr().out == ''


@pytest.mark.parametrize('compiler, reason', [
    (None, 'no C++ compiler was found. On Debian: apt-get install g++'),
    ('echo "x.cc:1: error: no such header"; exit 1', 'failed: x.cc:1: error: no such header'),
    ('exit 3', 'failed: exit code 3')])
def test_a_machine_that_cannot_compile_is_told_why(monkeypatch, tmp_path, capsys, compiler, reason):
    pretend(monkeypatch, tmp_path, 'tf2', 'avx512_bf16')
    monkeypatch.setattr(library.shutil, 'which', lambda name: None)
    monkeypatch.delenv('CXX', raising=False)
    if compiler:
        pretend_compiler(monkeypatch, tmp_path, compiler)
    assert library.load.__wrapped__() is None
    *lines, note = capsys.readouterr().out.splitlines()
    assert note.startswith('note: training in bfloat16 is slower without its C++ kernels: ')
    assert reason in note
    assert [line.split()[0] for line in lines] == ['compiling'] * bool(compiler)
    assert [path.name for path in tmp_path.rglob('*') if path.is_file()] == (
        ['compiler'] * bool(compiler))


def test_a_library_that_does_not_load_is_named(monkeypatch, tmp_path, capsys):
    pretend(monkeypatch, tmp_path, 'tf2', 'avx512_bf16')
    pretend_compiler(monkeypatch, tmp_path, 'while [ "$1" != -o ]; do shift; done; echo > "$2"')
    assert library.load.__wrapped__() is None
    assert 'kernels/kernels-' in capsys.readouterr().out.splitlines()[-1]


def pretend_compiler(monkeypatch, folder, script):
    """Let a shell script be the compiler."""
    path = folder / 'compiler'
    path.write_text(f'#!/bin/sh\n{script}\n')
    path.chmod(0o755)
    monkeypatch.setenv('CXX', str(path))


def pretend(monkeypatch, cache, engine, flags):
    """Make this machine one of `engine` and a processor with `flags`, with an empty cache."""
    monkeypatch.setenv('PERMAFROST_CACHE', str(cache))
    monkeypatch.setattr(engines, 'installed', lambda: engine)
    monkeypatch.setattr(machine, 'cpu_info', lambda field: flags)
