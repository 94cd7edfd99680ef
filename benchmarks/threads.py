"""Training with several settings of threads and MKL: the source of the defaults of runtime.py.

Each setting trains in processes of its own, because threads are fixed when TensorFlow starts.
"""

import re
import statistics
from functools import partial
from typing import Any, Dict, List

from benchmarks import measure
from benchmarks.runner import Options
from permafrost import runtime

MODELS = ('tuto', 'squeeze1')
ROUNDS = 3
STEPS_PER_SECOND = 6  # of --seconds: about the speed of two cores
ENVIRONMENTS: Dict[str, List[Dict[str, str]]] = {
    'tf1': [],
    'tf1-mkl': [
        {'KMP_AFFINITY': 'granularity=fine,noverbose,compact,1,0'},  # the wheel's default
        {'KMP_BLOCKTIME': '0'},
        {'KMP_BLOCKTIME': '30'},
        {'MKL_DEBUG_CPU_TYPE': '0'},  # MKL's own choice for this processor
        {'TF_DISABLE_MKL': '1'},
    ],
    'tf2': [{'TF_ENABLE_ONEDNN_OPTS': '0'}],
}


def benchmark(options: Options) -> Dict[str, Any]:
    """Measure, print a table for each model, and return the result to record."""
    settings = _settings(runtime.installed(), runtime.cores())
    rounds = options.rounds or ROUNDS
    steps = max(20, int(STEPS_PER_SECOND * options.seconds))
    figures = {}
    for model in options.models or MODELS:
        speeds = measure.interleave(
            {name: partial(_speed, model, steps, setting, options)
             for name, setting in settings.items()}, rounds, model)
        figures[model] = {name: measure.measurement(values, 'images/s')
                          for name, values in speeds.items()}
    for model, measurements in figures.items():
        fastest_first = sorted(measurements.items(), key=lambda item: -item[1]['median'])
        print('\n'.join([model] + measure.table(dict(fastest_first))), flush=True)
    runtime.prepare()
    return dict(measure.environment(), rounds=rounds, steps=steps, figures=figures,
                dataset=options.dataset,
                settings={name: {'flags': flags, 'environment': environment}
                          for name, (flags, environment) in settings.items()})


def _settings(engine, cores):
    """Return {difference from the defaults of runtime.py: (flags of train.py, environment)}."""
    settings = {'defaults': ([], {})}
    for intra, inter in ((cores, 1), (cores, 2), (cores, cores + 1), (1, cores), (1, 1)):
        if (intra, inter) != runtime.threads(engine):
            settings[f'intra {intra}, inter {inter}'] = (
                [f'--intra_op_threads={intra}', f'--inter_op_threads={inter}'], {})
    for environment in ENVIRONMENTS[engine]:
        settings[' '.join(f'{name}={value}' for name, value in environment.items())] = (
            [], environment)
    return settings


def _speed(model, steps, setting, options):
    """Return the images/s of a training, without its first quarter."""
    flags, environment = setting
    output = measure.train(options.train_flags(model) + flags + [
        f'--steps={steps}', f'--log_steps={steps // 4}', '--save_steps=0', '--save_secs=0',
        '--summary_steps=0', '--histogram_steps=0'], environment).output
    return statistics.median(map(float, re.findall(r' (\d+) images/s', output)[1:]))
