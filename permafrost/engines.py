"""Which TensorFlow is installed, its threads and its environment.

Threads and MKL settings only count if they are set before TensorFlow is imported, so `prepare` sets
them and then imports it.
"""

import contextlib
import os
import platform
import re
import sys
import tempfile
import warnings
from typing import Any, Callable, Dict, Iterator, Tuple

from permafrost import machine
from permafrost.cli.ending_signals import exit_if_signalled
from permafrost.errors import UserError, one_line

# Best in short trials on two cores (docs/speed.md). By default the wheel binds threads to cores,
# which starves the input pipeline: 1.25 times slower.
MKL = {'KMP_AFFINITY': 'disabled', 'KMP_BLOCKTIME': '1', 'KMP_SETTINGS': '0'}


def has_bfloat16(engine: str) -> bool:
    """Return whether convolutions in bfloat16 are faster than in float32 on this processor."""
    flags = machine.cpu_info('flags').split()
    return engine == 'tf2' and ('amx_bf16' in flags or 'avx512_bf16' in flags)


def installed() -> str:
    """Return the engine of this interpreter, 'tf1', 'tf1-mkl' or 'tf2', without importing it."""
    for folder in filter(os.path.isdir, sys.path):
        names = sorted(n.lower() for n in os.listdir(folder) if n.endswith('.dist-info'))
        if any(n.startswith('intel_tensorflow-1') for n in names):
            return 'tf1-mkl'
        if any(n.startswith(('tensorflow-1', 'tensorflow_gpu-1')) for n in names):
            return 'tf1'
        if any(n.startswith(('tensorflow-2', 'tensorflow_cpu-2')) for n in names):
            return 'tf2'
    raise UserError(f'no TensorFlow in {sys.executable}: run make setup, then use '
                    '.venv/<engine>/bin/python')


def threads(engine: str, deterministic: bool = False, intra: int = 0, inter: int = 0
            ) -> Tuple[int, int]:
    """Return how many threads an operation uses, and how many operations run at once.

    `intra` and `inter` are the numbers asked for; 0 asks for the best for the engine.
    """
    if deterministic:
        return intra or 1, inter or 1
    return intra or machine.cores(), inter or (2 if engine == 'tf1-mkl' else machine.cores())


def kernel_settings(engine: str, intra: int) -> Dict[str, str]:
    """Return the environment variables for the fastest kernels on this processor.

    `intra` is the number of threads that an operation uses.
    """
    if engine == 'tf1-mkl':
        settings = dict(MKL, OMP_NUM_THREADS=str(intra))
        if machine.cpu_info('vendor_id') == 'AuthenticAMD':
            settings['MKL_DEBUG_CPU_TYPE'] = '5'  # AVX2; by default MKL 2019 uses its slowest path
        return settings
    if engine == 'tf2' and 'avx2' in machine.cpu_info('flags').split():
        # By default 2.21 uses oneDNN only on newer ones, such as those with AVX512_VNNI.
        return {'TF_ENABLE_ONEDNN_OPTS': '1'}
    return {}


def prepare(config: Any = None) -> Any:
    """Set threads and environment as `config` asks, import TensorFlow and print the settings.

    `config` is a Config, or flags of the same names; None asks for the defaults. Variables that the
    environment already has keep their values. Return a tf.ConfigProto to use for every session: the
    first session of a process fixes its threads.
    """
    engine = installed()
    _check_processor()
    intra, inter = threads(engine) if config is None else threads(
        engine, config.deterministic, config.intra_op_threads, config.inter_op_threads)
    kernels = kernel_settings(engine, intra)
    # 2.21 logs an error for every uint8 operation that oneDNN lacks.
    log_level = {'TF_CPP_MIN_LOG_LEVEL': '3' if engine == 'tf2' else '2'}
    for name, value in {**log_level, **kernels}.items():
        os.environ.setdefault(name, value)
    tf = _import_tensorflow()
    exit_if_signalled()
    tf.logging.set_verbosity(tf.logging.ERROR)
    tf.disable_v2_behavior()
    tf.enable_resource_variables()
    settings = ''.join(f', {name}={os.environ[name]} (from the environment)'
                       for name in sorted(kernels) if os.environ[name] != kernels[name])
    gpu = gpu_name()
    if gpu and config is not None and config.deterministic:
        print('note: a GPU does not train bit-identically: set CUDA_VISIBLE_DEVICES=-1 to train '
              'on the CPU', flush=True)
    if machine.cores() < machine.processors():
        settings += f', CPU quota: {machine.cpu_quota():g} of {machine.processors()} processors'
    settings += f', GPU: {gpu}' if gpu else ''
    print(f'engine: {engine} (TensorFlow {tf.__version__}, Python {sys.version_info[0]}.'
          f'{sys.version_info[1]}), threads: intra {intra}, inter {inter}{settings}', flush=True)
    return tf.ConfigProto(
        intra_op_parallelism_threads=intra, inter_op_parallelism_threads=inter,
        # By default TensorFlow takes all memory of the GPU: no second process could use it.
        gpu_options=tf.GPUOptions(allow_growth=True))


def _check_processor() -> None:
    """Raise UserError if TensorFlow does not start on this processor."""
    flags = machine.cpu_info('flags').split()
    if platform.machine() == 'x86_64' and flags and 'avx' not in flags:
        raise UserError('this processor has no AVX instructions, without which TensorFlow does not '
                        'start: use another machine (a virtual one: give it the CPU of its host)')


def _import_tensorflow() -> Any:
    """Return the module tensorflow.compat.v1. Raises UserError with a reason in one line."""
    # 1.15 spells types in a way that newer NumPy warns about.
    warnings.filterwarnings('ignore', category=FutureWarning, module='tensor(flow|board)')
    try:
        with held_stderr(), without_keras():
            import tensorflow.compat.v1 as tf
        return tf
    except Exception as error:  # its extension modules raise several kinds
        names = ' and '.join(name for name in ('LD_LIBRARY_PATH', 'LD_PRELOAD', 'PYTHONPATH')
                             if os.environ.get(name))
        reason = re.findall(r'^\w*Error: (.*)', str(error), re.MULTILINE) or [error]
        raise UserError(f'TensorFlow does not load: {one_line(reason[-1])}. ' + (
            f'Unset {names}, which may point to libraries of another TensorFlow.' if names else
            'Run make doctor.'))


@contextlib.contextmanager
def held_stderr() -> Iterator[None]:
    """Context that hides what C++ code writes to stderr, unless an exception follows.

    TensorFlow 2.21 logs at its import, whatever TF_CPP_MIN_LOG_LEVEL is.
    """
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except Exception:  # not the end of the process by a signal
            held.seek(0)
            os.write(stderr, held.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


@contextlib.contextmanager
def without_keras() -> Iterator[None]:
    """Context in which Keras cannot be imported.

    TensorFlow 2.21 tries to, to register optimizers that are not used here, and continues without.
    That saves a fifth of its start-up.
    """
    earlier = sys.modules.pop('keras', None)
    sys.modules['keras'] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules['keras']
        if earlier:
            sys.modules['keras'] = earlier


def gpu_name() -> str:
    """Return the name of the GPU that TensorFlow uses, such as 'NVIDIA H200'; '' without one."""
    import tensorflow.compat.v1 as tf
    for gpu in tf.config.experimental.list_physical_devices('GPU'):
        # 1.15 cannot tell the name.
        details: Callable[..., Dict[str, str]] = getattr(
            tf.config.experimental, 'get_device_details', lambda gpu: {})
        return details(gpu).get('device_name', 'unknown')
    return ''


def versions() -> Dict[str, str]:
    """Return {package: version} of what decides the results, and the name of the 'gpu' if any."""
    import numpy
    import tensorflow.compat.v1 as tf
    gpu = gpu_name()
    return {'engine': installed(), 'tensorflow': tf.__version__, 'numpy': numpy.__version__,
            'python': '.'.join(map(str, sys.version_info[:3])), **({'gpu': gpu} if gpu else {})}
