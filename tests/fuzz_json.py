"""Mutate the json files that the product reads: python -m tests.fuzz_json FILE [COUNT] [SEED].

Each mutant is read as the product reads it. The answer must be right, or one line; never a stack
trace, more than 5 s or more than 1 GB. Prints how many were accepted and refused.
"""

import contextlib
import copy
import dataclasses
import io
import json
import os
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
from unittest import mock

from permafrost import files, runs
from permafrost.cluster import cluster_spec
from permafrost.datasets import loading, registry
from permafrost.datasets.synthetic import make_synthetic
from permafrost.errors import UserError
from permafrost.experiments import results
from permafrost.experiments.tables import accuracy, inference, training
from permafrost.inputs import normalization
from tests.processes import ROOT

MAX_SECS = 5
MAX_BYTES = 10**9
DEEP = '@deep@'  # stands for brackets in brackets, which json.dumps cannot write
HOSTILE = [
    None, True, False, 0, -1, 1, 2, 16.5, 10**12, 10**40, -10**12, 1e300, 1e-300, -0.0, '', 'x',
    '63', '0.1', float('nan'), float('inf'), -float('inf'), [], {}, [None], [[]], {'a': 1}, DEEP,
    [0] * 10000, 'x' * 100000, {str(i): i for i in range(1000)}, '\ud800', '\udce9', '\0', 'a\nb',
    '\x1b]0;x\x07', '\u202e', '../../x', '/etc/passwd', '..', '~', '<script>', 'a|b', '%s{0}',
    '<!-- end of results -->', '(a+)+$', 'a:1', '1/0', 'inf', '9' * 5000]


def mutants(content, count, seed=1):
    """Yield `count` mutants of the json `content`, bytes: of its values, and of its text."""
    rng, original = random.Random(seed), json.loads(content.decode())
    yield content
    for _ in range(count - 1):
        if rng.random() < 0.15:
            yield _change_bytes(content, rng)
            continue
        value = [copy.deepcopy(original)]  # in a list, so that the whole has a parent too
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            _change_value(value, rng)
        text = json.dumps(value[0])
        deep = rng.choice((50, 900, 100000))
        text = text.replace(json.dumps(DEEP), '[' * deep + ']' * deep)
        if rng.random() < 0.05 and '{"' in text:  # the first name, twice
            text = text.replace('{"', '{"' + text.split('"')[1] + '": 1, "', 1)
        yield text.encode()


def _change_value(root, rng):
    places = []
    pending = [(root, 0)]
    while pending:
        parent, key = pending.pop()
        places.append((parent, key))
        child = parent[key]
        if isinstance(child, (dict, list)):
            names = list(child) if isinstance(child, dict) else range(min(len(child), 20))
            pending += [(child, name) for name in names]
    parent, key = rng.choice(places)
    old = parent[key]
    choice = rng.random()
    if choice < 0.6:
        parent[key] = copy.deepcopy(rng.choice(HOSTILE))
    elif choice < 0.75 and isinstance(old, (int, float)):
        parent[key] = rng.choice((-old, old + 1, old * 10**6, str(old), float(old), old + 0.5))
    elif choice < 0.85 and parent is not root:
        del parent[key]
    elif isinstance(old, dict):
        old[rng.choice(('', 'more', '\x1b[31m', '\ud800', 'x' * 1000))] = copy.deepcopy(
            rng.choice(HOSTILE))
    elif isinstance(old, str):
        parent[key] = rng.choice((old + 'x', old[:-1], old.upper(), [old], '\n' + old, old * 1000))
    else:
        parent[key] = [old]


def _change_bytes(content, rng):
    changed = bytearray(content)
    choice = rng.random()
    if choice < 0.4:
        return content[:rng.randrange(len(content))]
    for _ in range(rng.choice((1, 1, 5, 100))):
        place = rng.randrange(len(changed))
        if choice < 0.7:
            changed[place] = rng.randrange(256)
        elif choice < 0.85:
            changed[place:place] = bytes(rng.choices(b'[]{}",:0-e\\\0\xff', k=rng.randrange(1, 9)))
        else:
            del changed[place:place + rng.randrange(1, 9)]
            changed = changed or bytearray(b' ')
    return bytes(changed)


# Each reader gets a folder and returns (path of the file, function that reads it).


def _config(folder):
    run = shutil.copytree(os.path.join(ROOT, 'tests', 'fixtures', 'v1'), folder + '/v1')
    run += '/runs/lenet5/1'

    def use():
        config, extra = runs.read_config(run)
        with contextlib.suppress(OSError):  # of a directory that is not there
            runs.check_data(run, extra, loading.open_for_run(config))
        return config, extra
    return run + '/config.json', use


def _config_in_use(folder):
    """Evaluate and resume what is accepted: each config once."""
    # Here, for the other readers need less than 1 GB without TensorFlow.
    from permafrost.evaluation.evaluator import Evaluator
    from permafrost.training import loop
    from permafrost.training.checkpoints import finding
    from permafrost.training.setup import TrainSetup
    from tests import conftest
    conftest._use_graphs()
    path, read = _config(folder)
    run, seen = os.path.dirname(path), {}

    def use():
        config, extra = read()
        if repr(config) not in seen:
            seen[repr(config)] = None  # refused, unless this ends
            seen[repr(config)] = evaluate(config)
            copied = shutil.copytree(run, tempfile.mkdtemp(dir=folder) + '/run')
            short = dataclasses.replace(config, steps=3, log_steps=1, summary_steps=0)
            with contextlib.redirect_stdout(io.StringIO()):
                loop.train(TrainSetup(short, loading.open_for_run(config), run=copied, resume=True))
        if seen[repr(config)] is None:
            raise UserError('refused before')
        return seen[repr(config)]

    def evaluate(config):
        with Evaluator(run, None) as evaluator:
            metrics = evaluator.evaluate(*finding.find_checkpoint(run))
        network = (config.model, config.recipe.image_size, config.recipe.normalize,
                   config.statistics, config.recipe.ema_decay > 0)
        answer = metrics['correct'], metrics['images'], metrics['cross_entropy']
        assert answers.setdefault(network, answer) == answer
        return answer

    answers = {}
    return path, use


def _status(folder):
    runs.write_status(folder, state='running', host='other', step=3, train_seconds=1.5,
                      images_per_second=100.)
    with open(folder + '/lock', 'w'):
        pass

    def use():
        status = runs.read_status(folder), runs.is_running(folder)
        runs.write_status(folder, step=3)
        return {name: value for name, value in status[0].items() if name != 'updated'}
    return folder + '/status.json', use


SPEC = cluster_spec.ClusterSpec(('10.0.0.1:2222',), ('10.0.0.2:2222', '10.0.0.3:2222'))


def _cluster(folder):
    files.write_json(folder + '/cluster.json', {
        'ps': SPEC.ps, 'workers': SPEC.workers, 'mode': 'sync', 'backup_workers': 1, 'run_id': 7})

    def use():
        context = cluster_spec.resolve_cluster([], [], 'worker', 1, {}, folder)
        return context.spec.tasks(), cluster_spec.load_cluster_json(folder)
    return folder + '/cluster.json', use


def _tf_config(folder):
    path = folder + '/tf_config'
    files.write_json(path, {'cluster': {'ps': SPEC.ps, 'chief': SPEC.workers[:1],
                                        'worker': SPEC.workers[1:]},
                            'task': {'type': 'worker', 'index': 0}, 'environment': 'cloud'})

    def use():
        with open(path, 'rb') as stream:
            text = os.fsdecode(stream.read().replace(b'\0', b''))  # no environment has that
        return cluster_spec.resolve_cluster([], [], None, None, {'TF_CONFIG': text})
    return path, use


def _manifest(folder):
    directory = shutil.copytree(
        os.path.join(ROOT, 'tests', 'fixtures', 'v1', 'shapes'), folder + '/shapes')

    def use():
        data = loading.open_dataset(directory)
        for split in data.splits:
            assert len(loading.load(data, split)[0]) == data.counts[split]
        return data.classes, data.splits, data.counts, data.image_shape
    return directory + '/' + registry.MANIFEST, use


def _synthetic(folder):
    make_synthetic(folder, train=6, test=4)
    return folder + '/' + registry.MANIFEST, lambda: loading.open_dataset('synthetic', folder)


def _result(folder):
    path = shutil.copy(os.path.join(ROOT, 'results', 'sprint-sprint-400.json'), folder)
    return path, lambda: _one_table(accuracy.table(results.load(folder)))


def _benchmark(name):
    def prepare(folder):
        path = shutil.copy(os.path.join(ROOT, 'results', f'benchmark-{name}.json'), folder)
        tables = {**training.TABLES, **inference.TABLES, **inference.DEPLOY_TABLES}
        table = tables[name.split('-')[0]]
        return path, lambda: _one_table(table(folder))
    return prepare


def _one_table(lines):
    text = '\n'.join(lines)
    assert text.isprintable() or set(text) - {'\n'} == set(filter(str.isprintable, text)), text
    assert '<script' not in text and '<!--' not in text, text
    return lines


def _statistics(folder):
    data = make_synthetic(folder + '/data', train=6, test=4)
    with mock.patch.object(files, 'cache_dir', lambda: folder):
        normalization.fit('per_channel', data)

    def use():
        with mock.patch.object(files, 'cache_dir', lambda: folder):
            statistics = normalization.fit('per_channel', data)
        assert len(statistics) == 6
        return statistics
    name, = os.listdir(folder + '/statistics')
    return os.path.join(folder, 'statistics', name), use


FILES = {  # those that are read without TensorFlow
    'config.json': _config, 'status.json': _status, 'cluster.json': _cluster,
    'TF_CONFIG': _tf_config, 'manifest.json': _manifest, 'synthetic.json': _synthetic,
    'result.json': _result, 'pipeline.json': _benchmark('pipeline-tf2'),
    'training.json': _benchmark('training'), 'inference.json': _benchmark('inference'),
    'deploy.json': _benchmark('deploy'),
    'statistics.json': _statistics}


def fuzz(name, count, seed, folder, max_secs=60):
    """Read `count` mutants of file `name` in `folder`; return the figures. Raises for a fault."""
    path, use = (FILES.get(name) or _config_in_use)(folder)
    signal.signal(signal.SIGALRM, _time_out)
    with open(path, 'rb') as stream:
        content = stream.read()
    expected = use()
    figures = {'accepted': 0, 'refused': 0, 'slowest': 0.}
    for number, mutant in enumerate(mutants(content, count, seed)):
        with open(path, 'wb') as stream:
            stream.write(mutant)
        start = time.perf_counter()
        signal.alarm(max_secs)
        try:
            answer = outcome(use)
        except BaseException as error:
            raise AssertionError(f'mutant {number} of {name}: {mutant[:700]!r}') from error
        finally:
            signal.alarm(0)
        figures['slowest'] = max(figures['slowest'], time.perf_counter() - start)
        figures['refused' if answer is None else 'accepted'] += 1
        assert number or answer == expected
    for make in (os.mkfifo, os.mkdir, lambda path: os.symlink('/dev/zero', path)):
        if name != 'TF_CONFIG':  # which is no file
            os.unlink(path)
            make(path)
            signal.alarm(max_secs)
            outcome(use)
            signal.alarm(0)
            os.rename(path, path + make.__name__)
            with open(path, 'wb') as stream:
                stream.write(content)
    return dict(figures, slowest=round(figures['slowest'], 3))


def _time_out(*unused):
    raise TimeoutError('the reader takes too long')


def outcome(use):
    """Return what use() returns; None if it refuses in one line, as run_script prints it."""
    output = io.StringIO()
    try:
        with contextlib.redirect_stdout(output):
            answer = use()
    except UserError as error:
        answer, line = None, str(error)
    except OSError as error:
        answer, line = None, f'{error.filename}: {error.strerror}'
    else:
        line = output.getvalue().rstrip('\n')
        assert line.count('\n') <= 1, line  # a note, or two
        line = line.replace('\n', '')
    assert line.isprintable() and len(line) < 2000, line[:2000]
    return answer


def main(name, count='2000', seed='1'):
    """Print the figures of one file. Prepare first, for TensorFlow needs more memory."""
    with tempfile.TemporaryDirectory() as folder:
        if name in FILES:
            resource.setrlimit(resource.RLIMIT_AS, (MAX_BYTES, MAX_BYTES))
        figures = fuzz(name, int(count), int(seed), folder, MAX_SECS if name in FILES else 60)
    with open('/proc/self/status') as stream:  # ru_maxrss would count the process that forked this
        figures['MB'] = int(re.search(r'VmHWM:\s+(\d+) kB', stream.read()).group(1)) // 1024
    print(json.dumps(dict(figures, file=name)))


if __name__ == '__main__':
    main(*sys.argv[1:])
