"""eval.py: runs and frozen graphs, ours and those of others; its flags and signals."""

import dataclasses
import os
import shutil
import signal
from types import SimpleNamespace

import pytest
import tensorflow.compat.v1 as tf

from permafrost import runs
from permafrost.cli import ending_signals
from permafrost.datasets import loading
from permafrost.errors import UsageError, UserError
from permafrost.evaluation import evaluate, evaluator
from permafrost.evaluation.frozen_graphs import classification, graph_def
from permafrost.evaluation.frozen_graphs.graph_options import GraphOptions
from permafrost.export import freeze
from tests import in_process
from tests.evaluation.helpers import center_crops, foreign_graph


def _evaluate(graph, synthetic, directory, **options):
    path = str(directory / 'a.pb')
    with open(path, 'wb') as stream:
        stream.write(graph.SerializeToString())
    return evaluate.evaluate_frozen_graph(path, None, dataset='synthetic',
                                          data_dir=synthetic.directory,
                                          options=GraphOptions(**options))


@pytest.mark.parametrize('options', [
    {'standardize': 'per_image'}, {'standardize': 'per_image', 'image_size': 24}])
def test_a_foreign_graph_is_evaluated_without_its_queue(options, synthetic, tmp_path, capsys):
    graph, logits_of = foreign_graph()
    images, labels = loading.load(synthetic, 'test')
    correct = (logits_of(center_crops(images)).argmax(1) == labels).sum()
    metrics = _evaluate(graph, synthetic, tmp_path, **options)
    assert abs(metrics['correct'] - correct) <= 1 and metrics['images'] == 500
    assert ' of 500 test images correct' in capsys.readouterr().out


def test_names_of_files_cannot_write_to_the_terminal(run, synthetic, tmp_path, capsys):
    copied = shutil.copytree(run, str(tmp_path / 'a\n\x1b[2J'))
    evaluate.evaluate_run(copied, None, data_dir=synthetic.directory)
    freeze.freeze(copied, None, output=str(tmp_path / 'b\n.pb'), data=synthetic)
    output = capsys.readouterr().out
    assert r'a\n\x1b[2J/eval/test/metrics.jsonl' in output and r'/b\n.pb, ' in output
    assert '\x1b' not in output


def test_graphs_that_do_not_classify_these_images_are_refused(run, synthetic, tmp_path):
    def refused(graph, error, match, **options):
        with pytest.raises(error, match=match):
            _evaluate(graph, synthetic, tmp_path, **options)
    path = str(tmp_path / 'frozen.pb')
    freeze.freeze(run, None, output=path)
    graph = graph_def.read_graph(path)
    refused(graph, UsageError, 'expects images of 32x32, but --image_size is 24x24', image_size=24)
    without_size = graph_def.extract_subgraph(graph, ['predictions'], ['inputs'])
    refused(without_size, UsageError, 'add --image_size N$')
    damaged = tf.GraphDef(node=[n for n in graph.node if n.name != 'conv1/weights'])
    refused(damaged, UserError, "node is missing .*'conv1/weights'")
    misspelt = tf.GraphDef.FromString(graph.SerializeToString())
    next(n for n in misspelt.node if n.op == 'Relu').op = 'Rleu'
    refused(misspelt, UserError, 'not allowed in inference.*Rleu')
    no_network = tf.GraphDef(node=[n for n in graph.node if n.name in ('images', 'labels')])
    refused(no_network, UsageError, 'add --output NAME .candidates: none')
    renamed = tf.GraphDef.FromString(graph.SerializeToString())
    for node in renamed.node:
        node.name = {'probabilities': 'predictions', 'predictions': 'x'}.get(node.name, node.name)
        node.input[:] = [{'predictions': 'inputs'}.get(name, name) for name in node.input]
    refused(renamed, UserError, 'not a row of floats for each')


def test_classes_are_compared_with_those_of_the_graph(run, synthetic, tmp_path):
    """A frozen graph of ours has its class names; a foreign graph gets them from --labels."""
    path, other = str(tmp_path / 'a.pb'), str(tmp_path / 'b.pb')
    freeze.freeze(run, None, output=path)
    graph = graph_def.read_graph(path)
    labels = next(node for node in graph.node if node.name == 'labels').attr['value'].tensor
    data = {'dataset': 'synthetic', 'data_dir': synthetic.directory}

    def refused(names, message):
        labels.string_val[:] = names
        with open(other, 'wb') as stream:
            stream.write(graph.SerializeToString())
        with pytest.raises(UserError, match=message):
            evaluate.evaluate_frozen_graph(other, None, **data)
    names = list(labels.string_val)
    refused(names[::-1], 'class 0 is truck there and airplane here, the same in another order')
    refused(names[:-1] + [b'\x1b[0m'], r'class 9 is \\x1b\[0m there and truck here\)')
    refused(names[:-1], '9 classes instead of 10')
    (tmp_path / 'labels.txt').write_text('\n'.join(synthetic.classes))
    stated = GraphOptions(labels=str(tmp_path / 'labels.txt'))
    assert evaluate.evaluate_frozen_graph(other, None, stated, **data)['images'] == 500


def test_a_graph_that_fails_on_the_images_says_what_to_check(synthetic, tmp_path):
    with tf.Graph().as_default() as graph:
        x = tf.placeholder(tf.float32, [None, 32, 32, 3], name='x')
        tf.reshape(x, [1, 3072], name='y')  # of one image
    with pytest.raises(UserError, match='cannot run on these images: .*: check --node, --output '
                                        'and --image_size$'):
        _evaluate(graph.as_graph_def(), synthetic, tmp_path)


def test_out_of_memory_is_not_taken_for_a_wrong_graph(run, tmp_path, monkeypatch):
    def fail(*unused):
        raise tf.errors.ResourceExhaustedError(None, None, 'OOM when allocating tensor')
    path = str(tmp_path / 'a.pb')
    freeze.freeze(run, None, output=path)
    monkeypatch.setattr(classification, 'classify', fail)
    with pytest.raises(UserError, match='^out of memory: stop other processes'):
        evaluate.classify_images(path, [], None)


def test_a_saved_model_is_read_with_the_config_of_all_sessions(synthetic, tmp_path, monkeypatch):
    """The first session of a process fixes its threads."""
    path, config, configs = str(tmp_path / 'saved'), tf.ConfigProto(), []
    make_session = tf.Session
    with tf.Graph().as_default(), tf.Session() as session:
        x = tf.placeholder(tf.float32, [None, 32, 32, 3], name='x')
        y = tf.matmul(tf.reduce_mean(x, [1, 2]), tf.get_variable('w', [3, 10]), name='y')
        session.run(tf.global_variables_initializer())
        tf.saved_model.simple_save(session, path, {'x': x}, {'y': y})
    monkeypatch.setattr(tf, 'Session', lambda config=None: configs.append(config) or make_session(
        config=config))
    evaluate.evaluate_frozen_graph(path, config, dataset='synthetic', data_dir=synthetic.directory)
    assert configs == [config] * 2  # to read, to run


def test_a_run_gives_the_metrics_of_its_last_checkpoint(run, capsys):
    metrics = evaluate.evaluate_run(run, None, profile=True)
    output = capsys.readouterr().out
    assert metrics['step'] == 30 and metrics['weights'] == 'averaged'
    assert 'step 30: ' in output and 'trace: ' in output
    assert os.path.join('eval', 'test', 'metrics.jsonl') in output
    metrics = evaluate.evaluate_run(run, None, continuous=True)  # of a training that has ended
    assert metrics['step'] == 30


def test_mistakes_are_one_line(tmp_path):
    for code, argument, message in [(2, '--tta=flop', 'flip_shift'),
                                    (1, f'--graph={tmp_path}/a.pb', 'No such file'),
                                    (1, f'--graph={tmp_path}', 'is a directory')]:
        result = in_process.run('eval.py', argument)
        assert result.code == code and message in result.stderr
        assert result.stderr.startswith('error: ') and result.stderr.count('\n') == 1


def test_sigterm_ends_follow_with_143(run, monkeypatch):
    monkeypatch.setattr(ending_signals, '_exit_code', None)
    monkeypatch.setattr(evaluator.time, 'sleep', lambda seconds: os.kill(os.getpid(),
                                                                         signal.SIGTERM))
    with runs.lock(run):  # as a training would, so that eval.py goes on
        result = in_process.run('eval.py', '--run=' + run, '--follow')
    assert result.code == 143 and 'step 30: ' in result.stdout and not result.stderr


@pytest.mark.parametrize('test, validation, split', [
    (9, 50, 'test'), (0, 50, 'validation'), (0, 0, 'test')])
def test_a_run_without_test_images_is_followed_on_those_held_out(
        run, synthetic, monkeypatch, test, validation, split):
    config = dataclasses.replace(runs.read_config(run)[0], validation=validation)
    data = synthetic._replace(counts=dict(synthetic.counts, test=test))
    monkeypatch.setattr(runs, 'read_config', lambda run: (config, {}))
    monkeypatch.setattr(loading, 'open_for_run', lambda *unused: data)
    assert evaluate.images_to_follow(run, None, None) == {'opened': data, 'split': split}


def test_a_run_that_is_followed_has_the_dataset_that_is_named(run, monkeypatch):
    named = []
    monkeypatch.setattr(loading, 'open_for_run', lambda *arguments: named.append(arguments[1:]) or
                        SimpleNamespace(counts={'test': 9}))
    evaluate.images_to_follow(run, 'packed', 'folder')
    assert named == [('packed', 'folder')]
