"""Compiles and loads the C++ kernels of this folder, for processors with AVX512_BF16.

Processors with AMX keep TensorFlow's kernels, which use its faster instructions.
"""

import functools
import glob
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from typing import Any, List, Optional

import tensorflow.compat.v1 as tf

from permafrost import engines, files, machine
from permafrost.errors import one_line

FOLDER = os.path.dirname(os.path.abspath(__file__))
FLAGS = ('-O3', '-mfma', '-mavx512f', '-mavx512bw', '-mavx512vl', '-mavx512bf16', '-fPIC',
         '-shared')


@functools.lru_cache(None)
def load() -> Optional[Any]:
    """Return the module of the compiled operations; None if this machine cannot use them.

    The first call compiles them, unless they are in the cache. Prints a note if that fails.
    """
    flags = machine.cpu_info('flags').split()
    if engines.installed() != 'tf2' or 'avx512_bf16' not in flags or 'amx_bf16' in flags:
        return None
    try:
        return tf.load_op_library(_compiled())
    except (OSError, subprocess.SubprocessError, tf.errors.OpError) as error:
        print(f'note: training in bfloat16 is slower without its C++ kernels: {one_line(error)}',
              flush=True)
        return None


def _compiled() -> str:
    """Return the path of the library in the cache, where it is compiled first if it is missing.

    Raises OSError without a compiler or a cache, and SubprocessError if the compiler fails.
    """
    compiler = (os.environ.get('CXX') or shutil.which('g++') or shutil.which('clang++') or ''
                ).split()
    if not compiler:
        raise OSError('no C++ compiler was found. On Debian: apt-get install g++')
    sources = sorted(glob.glob(os.path.join(FOLDER, '*.cc')))
    content = [' '.join([tf.__version__, *platform.libc_ver(), *compiler, *FLAGS]).encode()]
    for source in [*sources, *sorted(glob.glob(os.path.join(FOLDER, '*.h')))]:
        with open(source, 'rb') as stream:
            content.append(stream.read())
    digest = hashlib.sha256(b'\0'.join(content)).hexdigest()[:16]
    path = os.path.join(files.cache_dir(), 'kernels', f'kernels-{digest}.so')
    if os.path.exists(path):
        return path
    print(f'compiling {path} (once, a few seconds)', flush=True)
    with tempfile.TemporaryDirectory() as folder:
        output = os.path.join(folder, 'library.so')
        _run([*compiler, *FLAGS, *tf.sysconfig.get_compile_flags(), *sources, '-o', output,
              *tf.sysconfig.get_link_flags()])
        files.make_folder(os.path.dirname(path))
        with open(output, 'rb') as stream:  # processes of a cluster may compile at the same time
            files.write_atomically(path, stream.read())
    return path


def _run(command: List[str]) -> None:
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                            universal_newlines=True, errors='replace', check=False)
    if result.returncode:
        errors = [line for line in result.stdout.splitlines() if 'error' in line.lower()]
        raise subprocess.SubprocessError(
            f'{command[0]} failed: {(errors or [f"exit code {result.returncode}"])[0]}')
