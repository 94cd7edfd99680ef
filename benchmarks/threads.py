"""Training with several settings of threads: what the defaults of engine.py are based on.

Each setting trains in processes of its own, as threads are fixed when TensorFlow starts.
"""

import re
import statistics

from benchmarks import measure
from permafrost import runtime

MODELS = ('tuto', 'squeeze1')
ROUNDS = 3
STEPS = 6  # a second of --seconds: about what two cores do


def _settings(name, cores):
    """{what differs from the defaults of engine.py: (flags of train.py, environment)}."""
    found = {'defaults': ([], {})}
    for intra, inter in ((cores, 1), (cores, 2), (cores, cores + 1), (1, cores), (1, 1)):
        if (intra, inter) != runtime.threads(name):
            found['intra %d, inter %d' % (intra, inter)] = (
                ['--intra_op_threads=%d' % intra, '--inter_op_threads=%d' % inter], {})
    for setting in ENVIRONMENT[name]:
        found[' '.join('%s=%s' % item for item in sorted(setting.items()))] = ([], setting)
    return found


ENVIRONMENT = {
    'tf1': [],
    'tf1-mkl': [
        {'KMP_AFFINITY': 'granularity=fine,noverbose,compact,1,0'},  # what the wheel chooses
        {'KMP_BLOCKTIME': '0'},
        {'KMP_BLOCKTIME': '30'},
        {'MKL_DEBUG_CPU_TYPE': '0'},  # as MKL takes the processor for
        {'TF_DISABLE_MKL': '1'},
    ],
    'tf2': [{'TF_ENABLE_ONEDNN_OPTS': '0'}],
}


def benchmark(options):
    """Measures, prints a table a model, returns what to record."""
    name = runtime.installed()
    settings = _settings(name, runtime.cores())
    rounds, models = options.rounds or ROUNDS, options.models or list(MODELS)
    steps = max(20, int(STEPS * options.seconds))
    figures = {}
    for model in models:
        speeds = measure.in_turn(
            {setting: lambda model=model, flags=flags, environment=environment: _speed(
                model, steps, flags, environment, options)
             for setting, (flags, environment) in settings.items()},
            rounds, lambda text, model=model: print(model + ' ' + text, flush=True))
        figures[model] = {setting: measure.figure(values, 'images/s')
                          for setting, values in speeds.items()}
    for model in models:
        best = sorted(figures[model].items(), key=lambda item: -item[1]['median'])
        print('\n'.join([model] + measure.table(dict(best))), flush=True)
    runtime.prepare()
    return dict(measure.circumstances(), rounds=rounds, steps=steps, figures=figures,
                dataset=options.dataset,
                settings={setting: {'flags': flags, 'environment': environment}
                          for setting, (flags, environment) in settings.items()})


def _speed(model, steps, flags, environment, options):
    """Images/s of a training, without its first quarter."""
    arguments = ['--model=' + model, '--data_set=' + options.dataset, '--steps=%d' % steps,
                 '--log_steps=%d' % (steps // 4), '--save_steps=0', '--save_secs=0',
                 '--summary_steps=0', '--histogram_steps=0'] + flags
    arguments += ['--data_dir=' + options.data_dir] if options.data_dir else []
    output = measure.train(arguments, environment).output
    return statistics.median(map(float, re.findall(r' (\d+) images/s', output)[1:]))
