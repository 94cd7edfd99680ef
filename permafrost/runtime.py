"""The TensorFlow at hand: which it is, its threads and its environment.

Threads and MKL settings only count when they are made before the import, so `prepare` makes
them and then imports.
"""

import contextlib
import os
import sys
import tempfile
import warnings

# Best in short trials on two cores (docs/speed.md; `tools/benchmark.py threads` repeats them). The
# wheel binds threads to cores, which keeps the input pipeline's from running: 1.25 times slower.
MKL = {'KMP_AFFINITY': 'disabled', 'KMP_BLOCKTIME': '1', 'KMP_SETTINGS': '0'}


def _mkl(threads):
    """The environment of MKL and OpenMP for a number of threads."""
    wanted = dict(MKL, OMP_NUM_THREADS=str(threads))
    if _cpu('vendor_id') == 'AuthenticAMD':
        wanted['MKL_DEBUG_CPU_TYPE'] = '5'  # AVX2; else MKL of 2019 takes its slowest path there
    return wanted


def _cpu(field):
    """What the system says of a `field` of the first processor, such as 'flags'; or ''."""
    try:
        with open('/proc/cpuinfo') as stream:
            return next((line.split(':')[1].strip() for line in stream
                         if line.startswith(field)), '')
    except OSError:  # not Linux
        return ''


def has_bfloat16(name):
    """Whether engine `name` convolves in bfloat16 on this processor, and faster than in float32."""
    return name == 'tf2' and not {'avx512_bf16', 'amx_bf16'}.isdisjoint(_cpu('flags').split())


def cores():
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()


def installed():
    """'tf1', 'tf1-mkl' or 'tf2': the engine of this interpreter, found without importing it."""
    for folder in filter(os.path.isdir, sys.path):
        names = sorted(n.lower() for n in os.listdir(folder) if n.endswith('.dist-info'))
        if any(n.startswith('intel_tensorflow-1') for n in names):
            return 'tf1-mkl'
        if any(n.startswith(('tensorflow-1', 'tensorflow_gpu-1')) for n in names):
            return 'tf1'
        if any(n.startswith(('tensorflow-2', 'tensorflow_cpu-2')) for n in names):
            return 'tf2'
    from permafrost.errors import UserError
    raise UserError('no TensorFlow in %s: run make setup, then use .venv/<engine>/bin/python'
                    % sys.executable)


def threads(name, deterministic=False, intra=0, inter=0):
    """(intra, inter) threads for engine `name`; what is given (not 0) wins."""
    if deterministic:
        return intra or 1, inter or 1
    return intra or cores(), inter or (2 if name == 'tf1-mkl' else cores())


def prepare(deterministic=False, intra=0, inter=0):
    """Sets threads and environment, imports TensorFlow, and says what was set.

    A variable that the environment has already keeps its value. Returns a tf.ConfigProto: the
    first session of a process fixes the pools, so every session should be given it.
    """
    name = installed()
    intra, inter = threads(name, deterministic, intra, inter)
    # 2.21 logs an error for every uint8 operation that oneDNN does not have.
    wanted = {'TF_CPP_MIN_LOG_LEVEL': '3' if name == 'tf2' else '2'}
    if name == 'tf1-mkl':
        wanted.update(_mkl(intra))
    for variable, value in wanted.items():
        os.environ.setdefault(variable, value)
    # numpy's and Python's own changes since 2019, of no use to who runs 1.15 on purpose.
    warnings.filterwarnings('ignore', category=FutureWarning)
    warnings.filterwarnings('ignore', category=DeprecationWarning)
    with held_stderr():
        import tensorflow.compat.v1 as tf
    tf.logging.set_verbosity(tf.logging.ERROR)
    tf.disable_v2_behavior()
    tf.enable_resource_variables()
    print('engine: %s (TensorFlow %s, Python %d.%d), threads: intra %d, inter %d%s' % (
        (name, tf.__version__) + sys.version_info[:2] + (intra, inter) + (
            ''.join(', %s=%s' % (v, os.environ[v]) for v in sorted(wanted) if v[:3] in (
                'OMP', 'KMP', 'MKL')),)), flush=True)
    return tf.ConfigProto(intra_op_parallelism_threads=intra, inter_op_parallelism_threads=inter)


@contextlib.contextmanager
def held_stderr():
    """Keeps what C++ code writes to stderr, and shows it only where an exception follows.

    TensorFlow 2.21 logs at its import, whatever TF_CPP_MIN_LOG_LEVEL says.
    """
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(stderr, held.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


def versions():
    """{package: version} of what decides results."""
    import numpy
    import tensorflow.compat.v1 as tf
    return {'engine': installed(), 'tensorflow': tf.__version__, 'numpy': numpy.__version__,
            'python': '%d.%d.%d' % sys.version_info[:3]}
