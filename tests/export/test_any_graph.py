"""Graphs that others froze, and files that hold none, in eval.py and info.py."""

import re

import pytest
import tensorflow.compat.v1 as tf

from permafrost.errors import UsageError, UserError
from permafrost.evaluation import evaluate, graph_def
from tests import processes


@pytest.mark.parametrize('script', ['eval.py', 'info.py'])
@pytest.mark.parametrize('content, expected', [
    (None, 'No such file'), (b'', 'is not a frozen graph'), (b'{"not": "a graph"}', 'is not a'),
    (b'\x89PNG\r\n\x1a\n', 'is not a frozen graph')])
def test_no_graph_is_one_line(script, content, expected, tmp_path):
    path = tmp_path / 'a.pb'
    if content is not None:
        path.write_bytes(content)
    output = processes.finish(processes.command(script, '--graph=%s' % path), 1)
    errors = [line for line in output.splitlines() if line.startswith('error: ')]
    assert len(errors) == 1 and expected in errors[0]


def test_a_file_cut_short(file, tmp_path):
    with open(file, 'rb') as stream:
        content = stream.read()
    for length in (len(content) // 2, len(content) - 3):
        (tmp_path / 'a.pb').write_bytes(content[:length])
        with pytest.raises(UserError, match='is not a frozen graph'):
            graph_def.read_graph(str(tmp_path / 'a.pb'))


def test_graphs_that_do_not_classify_these_images(file, synthetic, tmp_path):
    def refused(graph, error, match, **options):
        path = str(tmp_path / 'a.pb')
        with open(path, 'wb') as stream:
            stream.write(graph.SerializeToString())
        with pytest.raises(error, match=match):
            evaluate.evaluate_frozen_graph(path, None, dataset='synthetic',
                                      data_dir=synthetic.directory, **options)
    whole = graph_def.read_graph(file)
    refused(whole, UsageError, 'crops images itself', image_size=24)
    alone = graph_def.extract_subgraph(whole, ['predictions'], ['inputs'])
    refused(alone, UsageError, 'does not say how large its images are')
    missing = tf.GraphDef(node=[n for n in whole.node if n.name != 'conv1/weights'])
    refused(missing, UserError, "no node 'conv1/weights'")
    odd = tf.GraphDef.FromString(whole.SerializeToString())
    next(n for n in odd.node if n.op == 'Relu').op = 'Rleu'
    refused(odd, UserError, 'cannot load this graph: .*Rleu')
    named = tf.GraphDef(node=[n for n in whole.node if n.name in ('images', 'labels')])
    refused(named, UserError, 'no node `predictions`')
    renamed = tf.GraphDef.FromString(whole.SerializeToString())
    for node in renamed.node:
        node.name = {'probabilities': 'predictions', 'predictions': 'x'}.get(node.name, node.name)
        node.input[:] = [{'predictions': 'inputs'}.get(name, name) for name in node.input]
    refused(renamed, UserError, 'of shape|cannot be run|cannot load')


def test_eval_flags_of_a_run_and_of_a_graph():
    for arguments, expected in [
            (['--graph=a.pb', '--run=b'], '--run goes with a run, not with --graph'),
            (['--graph=a.pb', '--follow'], '--follow goes with a run'),
            (['--image_size=24'], '--image_size goes with --graph')]:
        output = processes.finish(processes.command('eval.py', *arguments), 2)
        assert expected in output
    output = processes.finish(processes.command('info.py', '--graph=a.pb', '--model=tuto'), 2)
    assert '--graph goes with --json alone' in output


@pytest.mark.slow
@pytest.mark.parametrize('arguments', [[], ['--image_size=24', '--batch_size=333']])
def test_a_graph_that_others_froze(third_party, cifar10, arguments):
    """Their training queue, upstream of `inputs`, is never run."""
    output = processes.finish(processes.command('eval.py', '--graph=' + third_party, *arguments))
    correct, count = re.search(r': (\d+) of (\d+) test images correct', output).groups()
    assert abs(int(correct) - 8557) <= 3 and count == '10000'
