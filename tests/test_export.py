"""Freezing: what is in the file, that it is what eval ran, where it loads, and how it fails."""

import collections
import glob
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

import models
from permafrost import config, data, evaluation, export, frozen, info, recipes, runs
from permafrost.config import UsageError, UserError
from tests import networks, processes

tf.disable_v2_behavior()
tf.enable_resource_variables()

UNFIT = re.compile('Queue|Switch|Merge|Assign|Variable|VarHandle|Random|Dropout|BatchNorm|Reader|'
                   'Iterator|Restore|Save|PyFunc|Identity|NoOp')
PUBLISHED_BYTES = {'tuto': 4278750, 'alex4': 5979938, 'nin2': 3881548, 'squeeze1': 602892}
THIRD_PARTY = os.path.join(processes.ROOT, '..', 'shared', 'thirdparty', 'squeeze1.pb')


@pytest.fixture(scope='module')
def run(synthetic, tmp_path_factory):
    """A run of squeeze1 of 20 steps."""
    directory = str(tmp_path_factory.mktemp('frozen') / 'squeeze1')
    processes.finish(processes.training(synthetic, directory, '--steps=20', '--save_steps=10'))
    return directory


@pytest.fixture(scope='module')
def normed_run(synthetic, tmp_path_factory):
    """A run of 60 steps of the batch-normalised network, a model for the while."""
    directory = str(tmp_path_factory.mktemp('frozen') / 'normed')
    with networks.registered():
        networks.train(synthetic, directory, 60)
        yield directory


@pytest.fixture(scope='module')
def file(run, tmp_path_factory):
    """Path of the frozen run."""
    path = str(tmp_path_factory.mktemp('frozen') / 'squeeze1.pb')
    export.freeze(run, None, output=path)
    return path


def _read_json(path):
    with open(os.path.splitext(path)[0] + '.json') as stream:
        return json.load(stream)


def _logits(path_or_graph, images, node='predictions', feed='images'):
    graph = path_or_graph
    if not isinstance(graph, tf.GraphDef):
        graph = frozen.read(graph)
    with tf.Graph().as_default(), tf.Session() as session:
        tf.import_graph_def(graph, name='')
        return session.run(node + ':0', {feed + ':0': images})


def _images(data_set, count=64):
    return data.load(data_set, 'test')[0][:count]


STATISTICS = {'per_channel': (125., 123., 114., 63., 62., 67.)}  # about CIFAR-10's


def _untrained(name, images, recipe=None):
    """The frozen graph of model `name` with random weights, and what eval's graph says."""
    recipe = recipes.recipe(recipe or recipes.default(name))
    with tf.Graph().as_default(), tf.Session() as session:
        inference = evaluation.inference_graph(
            config.Config(name, recipe, 1, statistics=STATISTICS.get(recipe.standardize, ())),
            data.CLASSES, data.IMAGE_SHAPE)
        session.run(tf.global_variables_initializer())
        random = np.random.RandomState(1)
        for variable in tf.global_variables():
            if variable.op.name.endswith(('biases', 'beta', 'moving_mean')):
                variable.load(0.1 * random.randn(*variable.shape.as_list()), session)
            elif not variable.op.name.endswith('weights'):
                variable.load(random.uniform(0.5, 2, variable.shape.as_list()), session)
        expected = session.run(inference.predictions, {inference.images: images})
        return export.frozen_graph(session, data.CLASSES), expected


# What is in the file


@pytest.mark.parametrize('name', sorted(models.MODELS) + ['normed'])
def test_every_model_freezes_to_what_eval_runs(name, synthetic):
    images = _images(synthetic, 8)
    with networks.registered():
        graph, expected = _untrained(name, images)
    types = frozen.op_types(graph)
    if name in models.MODELS:  # what the layers counted is what is in the file
        recipe = recipes.recipe(recipes.default(name))
        size, layers = info.measure(name, recipe.image_size), frozen.layers(graph)
        assert not layers[1]
        found = frozen.totals(layers[0])
        assert (found['ops'], found['macs']) == (size['ops'], size['macs'])
        assert found['params'] <= size['params'] + 2 * len(layers[0])  # numbers of activations
    assert set(types) <= export.ALLOWED and not [t for t in types if UNFIT.search(t)]
    assert types['Placeholder'] == 1
    assert not graph.library.function and graph.versions.producer <= 134
    scale = max(1, np.abs(expected).max())
    np.testing.assert_allclose(_logits(graph, images) / scale, expected / scale, atol=1e-5)
    chances = _logits(graph, images, 'probabilities')
    shifted = np.exp(expected - expected.max(1, keepdims=True))
    np.testing.assert_allclose(chances, shifted / shifted.sum(1, keepdims=True), atol=1e-5)
    nodes = {node.name: node for node in graph.node}
    assert nodes['images'].attr['dtype'].type == tf.uint8.as_datatype_enum
    assert [d.size for d in nodes['images'].attr['shape'].shape.dim] == [-1, 32, 32, 3]
    assert [label.decode() for label in nodes['labels'].attr['value'].tensor.string_val] == list(
        data.CLASSES)


def test_the_whole_image_without_crop(synthetic):
    images = _images(synthetic, 8)
    graph, expected = _untrained('cs231n', images, 'plain')
    np.testing.assert_allclose(_logits(graph, images), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('name', sorted(PUBLISHED_BYTES))
def test_no_larger_than_published(name, synthetic):
    graph, _ = _untrained(name, _images(synthetic, 1))
    assert graph.ByteSize() <= PUBLISHED_BYTES[name]


def test_nodes_are_few(synthetic):
    """Preprocessing in eleven operations, then one node an operation of the network."""
    graph, _ = _untrained('tuto', _images(synthetic, 1))
    computing = [node.op for node in graph.node if node.op not in ('Const', 'Placeholder')]
    assert len(computing) <= 11 + 2 * 3 + 2 * 2 + 1 + 2 * 3 + 2 + 1, computing


def test_inputs_can_be_fed(file, synthetic):
    images = _images(synthetic)
    pixels = _logits(file, images, 'inputs')
    assert pixels.shape == (64, 24, 24, 3)
    np.testing.assert_allclose(pixels.mean((1, 2, 3)), 0, atol=1e-4)
    np.testing.assert_allclose(pixels.std((1, 2, 3)), 1, atol=1e-4)
    np.testing.assert_allclose(_logits(file, pixels, feed='inputs'), _logits(file, images),
                               rtol=1e-5, atol=1e-5)


def test_answers_of_nin2_are_deterministic(synthetic):
    images = _images(synthetic, 8)
    graph, _ = _untrained('nin2', images)
    np.testing.assert_array_equal(_logits(graph, images), _logits(graph, images))


def test_default_attributes_are_stripped(file):
    with tf.Graph().as_default() as imported:
        tf.import_graph_def(frozen.read(file), name='')  # which adds defaults to what it is given
    for node in frozen.read(file).node:
        op_def = imported.get_operation_by_name(node.name).op_def
        for attribute in op_def.attr:
            if attribute.HasField('default_value') and attribute.name in node.attr:
                assert node.attr[attribute.name] != attribute.default_value, node
        assert not [name for name in node.attr if name.startswith('_')]
        # All that TF 1.15 requires is there.
        assert set(node.attr) >= {a.name for a in op_def.attr if not a.HasField('default_value')}


def test_strip_in_general():
    """What 2.21 adds to a node that 1.15 has not: attributes with their defaults."""
    with tf.Graph().as_default() as graph:
        x = tf.placeholder(tf.float32, [None, 8, 8, 4])
        tf.nn.max_pool(x, 2, 2, 'SAME')
        tf.nn.depthwise_conv2d(x, tf.ones([3, 3, 4, 2]), [1, 1, 1, 1], 'SAME')
        tf.nn.conv2d(x, tf.ones([3, 3, 4, 2]), [1, 2, 2, 1], 'VALID', dilations=[1, 1, 1, 1])
        tf.matmul(tf.ones([2, 3]), tf.ones([2, 3]), transpose_b=True)
        stripped = export.strip(graph.as_graph_def())
    attributes = {node.op: set(node.attr) for node in stripped.node}
    assert attributes['MaxPool'] == {'ksize', 'strides', 'padding'}
    assert attributes['DepthwiseConv2dNative'] == {'T', 'strides', 'padding'}
    assert attributes['Conv2D'] == {'T', 'strides', 'padding'}
    assert attributes['MatMul'] == {'T', 'transpose_b'}


# Batch normalization


def _random(*shape):
    return np.random.RandomState(len(shape) + sum(shape)).randn(*shape).astype(np.float32)


def _norm(x, name):
    channels = x.shape[-1]
    return tf.nn.fused_batch_norm(
        x, _random(channels, 1)[:, 0], _random(channels, 2)[:, 0], _random(channels, 3)[:, 0],
        np.abs(_random(channels, 4)[:, 0]) + 0.1, 1e-3, is_training=False, name=name)[0]


def _folded(build):
    """Folds the graph that `build(x)` makes; types of the result, which must compute the same."""
    x_value = _random(2, 6, 6, 4)
    with tf.Graph().as_default() as graph, tf.Session() as session:
        x = tf.placeholder(tf.float32, x_value.shape, name='images')
        tf.identity(build(x), name='probabilities')
        expected = session.run('probabilities:0', {x: x_value})
    result = export.fold(export.lean(graph.as_graph_def()))
    got = _logits(result, x_value, 'probabilities')
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)
    types = frozen.op_types(result)
    assert not [t for t in types if 'BatchNorm' in t]
    return types


def _conv(x, filters=5):
    return tf.nn.conv2d(x, _random(3, 3, x.shape.as_list()[-1], filters), [1, 1, 1, 1], 'SAME')


def test_fold_into_a_convolution():
    types = _folded(lambda x: tf.nn.relu(_norm(_conv(x), 'bn')))
    assert types == {'Placeholder': 1, 'Conv2D': 1, 'BiasAdd': 1, 'Relu': 1, 'Const': 2}


def test_fold_into_a_convolution_with_a_bias():
    types = _folded(lambda x: _norm(tf.nn.bias_add(_conv(x), _random(5)), 'bn'))
    assert types == {'Placeholder': 1, 'Conv2D': 1, 'BiasAdd': 1, 'Const': 2}


def test_fold_into_a_depthwise_convolution():
    types = _folded(lambda x: _norm(tf.nn.depthwise_conv2d(
        x, _random(3, 3, 4, 2), [1, 1, 1, 1], 'SAME'), 'bn'))
    assert types == {'Placeholder': 1, 'DepthwiseConv2dNative': 1, 'BiasAdd': 1, 'Const': 2}


def test_fold_twice_over():
    assert _folded(lambda x: _norm(_conv(tf.nn.relu(_norm(_conv(x), 'a')), 3), 'b')) == {
        'Placeholder': 1, 'Conv2D': 2, 'BiasAdd': 2, 'Relu': 1, 'Const': 4}


def _positive(x, name):
    channels = x.shape[-1]
    return tf.nn.fused_batch_norm(
        x, np.ones(channels, np.float32), _random(channels, 2)[:, 0], _random(channels, 3)[:, 0],
        np.abs(_random(channels, 4)[:, 0]) + 0.1, 1e-3, is_training=False, name=name)[0]


def test_fold_through_a_pool_where_no_scale_is_negative():
    types = _folded(lambda x: tf.nn.relu(_positive(tf.nn.max_pool(_conv(x), 2, 2, 'SAME'), 'bn')))
    assert types == {'Placeholder': 1, 'Conv2D': 1, 'MaxPool': 1, 'BiasAdd': 1, 'Relu': 1,
                     'Const': 2}
    types = _folded(lambda x: _positive(tf.nn.max_pool(
        tf.nn.bias_add(_conv(x), _random(5)), 2, 2, 'SAME'), 'bn'))
    assert types == {'Placeholder': 1, 'Conv2D': 1, 'MaxPool': 1, 'BiasAdd': 2, 'Const': 3}


def test_fold_into_a_product():
    def build(x):
        rows = tf.matmul(tf.reshape(x, [-1, 144]), _random(144, 7))
        return tf.reshape(_norm(tf.reshape(rows, [-1, 1, 1, 7]), 'bn'), [-1, 7])
    types = _folded(build)
    assert types['MatMul'] == types['BiasAdd'] == 1 and 'Mul' not in types


def _shared(x):
    y = _conv(x)
    return _norm(y, 'bn') + y


def _same_weights(x):
    weights = tf.constant(_random(3, 3, 4, 4))
    y = tf.nn.relu(_norm(tf.nn.conv2d(x, weights, [1, 1, 1, 1], 'SAME'), 'a'))
    return _norm(tf.nn.conv2d(y, weights, [1, 1, 1, 1], 'SAME'), 'b')


@pytest.mark.parametrize('build, count', [
    (lambda x: _norm(x, 'bn'), 1),
    (lambda x: _norm(tf.nn.max_pool(_conv(x), 2, 2, 'SAME'), 'bn'), 1),
    (_shared, 1), (_same_weights, 2)])
def test_what_has_no_convolution_of_its_own_is_multiplied(build, count):
    assert _folded(build)['Mul'] == count


def test_batch_statistics_are_refused():
    with tf.Graph().as_default() as graph:
        x = tf.placeholder(tf.float32, [2, 4, 4, 3], name='images')
        tf.nn.fused_batch_norm(x, [1.] * 3, [0.] * 3, name='probabilities')
    with pytest.raises(ValueError, match='normalizes by the batch'):
        export.fold(graph.as_graph_def())


# What eval ran


@pytest.mark.parametrize('weights', ['averaged', 'raw'])
@pytest.mark.parametrize('which', ['run', 'normed_run'])
def test_logits_and_accuracy_are_evals(which, weights, synthetic, tmp_path, request):
    run, images = request.getfixturevalue(which), _images(synthetic, 500)
    path = str(tmp_path / 'a.pb')
    result = export.freeze(run, None, weights=weights, output=path)
    with evaluation.Evaluator(run, None, weights=weights) as evaluator:
        figures = evaluator.evaluate(*runs.checkpoint(run))
        expected = evaluator._session.run(evaluator.inference.predictions,
                                          {evaluator.inference.images: images})
    scale = max(1, np.abs(expected).max())
    np.testing.assert_allclose(_logits(path, images) / scale, expected / scale, atol=1e-5)
    assert result['images'] == 500 and abs(result['correct'] - figures['correct']) <= 1
    assert result['weights'] == figures['weights'] == weights
    graph = evaluation.evaluate_graph(path, None, data_set='synthetic',
                                      data_dir=synthetic.directory)
    assert graph['correct'] == result['correct'] and graph['images'] == 500


def test_the_normed_run_normalizes(normed_run, tmp_path):
    """Its moving statistics moved, so that the fold had something to do."""
    reader = tf.train.load_checkpoint(runs.checkpoint(normed_run)[1])
    assert np.abs(reader.get_tensor('conv2/bn/moving_mean')).min() > 0
    assert np.abs(reader.get_tensor('conv2/bn/moving_variance') - 1).max() > 0.01
    assert not reader.has_tensor('conv2/bn/moving_mean/ExponentialMovingAverage')
    path = str(tmp_path / 'normed.pb')
    result = export.freeze(normed_run, None, output=path)
    assert result['correct'] > 150  # of 500; chance gives 50
    assert not [t for t in result['op_types'] if 'Norm' in t]
    # gamma, beta, and weights are 1,200 + 32, 3,456 + 48 and 250: the gammas have gone
    assert result['params'] == 1200 + 16 + 3456 + 24 + 250


def test_a_step_of_the_past(run, synthetic, tmp_path):
    assert export.freeze(run, None, step=10, output=str(tmp_path / 'ten.pb'))['step'] == 10
    export.freeze(run, None, output=str(tmp_path / 'last.pb'))
    ten, last = (_logits(str(tmp_path / name), _images(synthetic)) for name in (
        'ten.pb', 'last.pb'))
    assert np.abs(ten - last).max() > 1e-3


def test_sidecar(run, file):
    result = _read_json(file)
    with open(file, 'rb') as stream:
        content = stream.read()
    graph = frozen.read(file)
    assert result['sha256'] == hashlib.sha256(content).hexdigest()
    assert result['bytes'] == len(content)
    assert result['op_types'] == dict(collections.Counter(node.op for node in graph.node))
    size = info.measure('squeeze1', 24)
    assert [result[c] for c in info.COUNTS] == [size[c] for c in info.COUNTS]
    assert (result['model'], result['run'], result['step']) == ('squeeze1', run, 20)
    assert result['classes'] == list(data.CLASSES) and result['image_size'] == 24
    assert result['versions']['tensorflow'] == tf.__version__
    assert result['engine'] in ('tf1', 'tf1-mkl', 'tf2')
    assert result['accuracy'] == result['correct'] / result['images']
    assert 'this file' in result['accuracy_of']
    assert 0 <= result['largest_difference'] <= 1e-5


# Refusals and failures


def test_an_operation_that_has_no_place_is_refused(run, tmp_path, monkeypatch):
    monkeypatch.setattr(export, 'ALLOWED', export.ALLOWED - {'ConcatV2'})
    with pytest.raises(UserError, match='not written: ConcatV2 may not be'):
        export.freeze(run, None, output=str(tmp_path / 'a.pb'))
    assert not os.listdir(str(tmp_path))


def test_other_logits_are_refused(run, tmp_path, monkeypatch):
    def spoilt(graph):
        for node in graph.node:
            if node.name == 'fire1/squeeze/weights':
                value = tf.make_ndarray(node.attr['value'].tensor) * 1.01
                node.attr['value'].tensor.CopyFrom(tf.make_tensor_proto(value))
        return graph
    monkeypatch.setattr(export, 'fold', spoilt)
    with pytest.raises(UserError, match="logits differ from eval's by"):
        export.freeze(run, None, output=str(tmp_path / 'a.pb'))
    assert not os.listdir(str(tmp_path))


def _with_old_files(directory):
    """Files of an earlier freeze, and {name: content}."""
    for name in ('a.pb', 'a.json'):
        with open(os.path.join(str(directory), name), 'w') as stream:
            stream.write('old')
    return dict.fromkeys(['a.pb', 'a.json'], 'old')


def _contents(directory):
    found = {}
    for name in os.listdir(str(directory)):
        with open(os.path.join(str(directory), name)) as stream:
            found[name] = stream.read()
    return found


def test_a_failure_leaves_the_files_there_were(run, tmp_path, monkeypatch):
    old = _with_old_files(tmp_path)

    def fail(handle):
        raise OSError(5, 'Input/output error')
    monkeypatch.setattr(os, 'fsync', fail)
    with pytest.raises(UserError, match=r'cannot write .*a.pb \(Input/output error\)'):
        export.freeze(run, None, output=str(tmp_path / 'a.pb'))
    assert _contents(tmp_path) == old


def _refused(code, *arguments):
    output = processes.finish(processes.command('freeze_graph.py', *arguments), code)
    lines = [line for line in output.splitlines() if line.startswith('error: ')]
    assert len(lines) == 1, output
    return lines[0]


def test_a_full_disk(run, tmp_path):
    mount = ['mount', '-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', str(tmp_path)]
    if subprocess.call(mount, stderr=subprocess.DEVNULL):
        pytest.skip('mounting a small tmpfs takes root')
    try:
        old = _with_old_files(tmp_path)
        assert 'No space left on device' in _refused(
            1, '--run=' + run, '--output=%s' % (tmp_path / 'a.pb'))
        assert _contents(tmp_path) == old
    finally:
        subprocess.check_call(['umount', str(tmp_path)])


def test_mistakes_are_one_line(run, tmp_path):
    (tmp_path / 'file').write_text('')
    assert 'not a run directory' in _refused(1, '--run=%s' % (tmp_path / 'none'))
    assert 'no run under' in _refused(1, '--log_dir=%s' % (tmp_path / 'none'))
    assert 'must end in .pb' in _refused(2, '--run=' + run, '--output=a.json')
    assert 'no checkpoint of step 5' in _refused(2, '--run=' + run, '--step=5')
    assert 'averaged' in _refused(2, '--run=' + run, '--weights=avreaged')
    assert 'cannot write' in _refused(1, '--run=' + run, '--output=%s' % (tmp_path / 'file/a.pb'))
    assert 'is there already' in _refused(1, '--run=' + run, '--saved_model=%s' % tmp_path)
    empty = str(tmp_path / 'empty')
    shutil.copytree(run, empty, ignore=shutil.ignore_patterns('model.ckpt*'))
    assert 'no checkpoint in' in _refused(1, '--run=' + empty)
    assert sorted(os.listdir(str(tmp_path))) == ['empty', 'file'], 'mistakes leave nothing behind'


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
            frozen.read(str(tmp_path / 'a.pb'))


def test_graphs_that_do_not_classify_these_images(file, synthetic, tmp_path):
    def refused(graph, error, match, **options):
        path = str(tmp_path / 'a.pb')
        with open(path, 'wb') as stream:
            stream.write(graph.SerializeToString())
        with pytest.raises(error, match=match):
            evaluation.evaluate_graph(path, None, data_set='synthetic',
                                      data_dir=synthetic.directory, **options)
    whole = frozen.read(file)
    refused(whole, UsageError, 'crops images itself', image_size=24)
    alone = frozen.cut(whole, ['predictions'], ['inputs'])
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


# Graphs of others, and counts


@pytest.fixture
def third_party():
    if not os.path.exists(THIRD_PARTY):
        pytest.skip('no ../shared/thirdparty/squeeze1.pb')
    return THIRD_PARTY


@pytest.mark.slow
@pytest.mark.parametrize('arguments', [[], ['--image_size=24', '--batch_size=333']])
def test_a_graph_that_others_froze(third_party, cifar10, arguments):
    """Their training queue, upstream of `inputs`, is never run."""
    output = processes.finish(processes.command('eval.py', '--graph=' + third_party, *arguments))
    correct, count = re.search(r': (\d+) of (\d+) test images correct', output).groups()
    assert abs(int(correct) - 8557) <= 3 and count == '10000'


def test_what_others_froze_is_counted(third_party):
    size, published = info.measure_graph(third_party), info.measure('squeeze1', 24)
    assert [size[count] for count in info.COUNTS] == [published[count] for count in info.COUNTS]
    assert size['bytes'] == 602892 and size['op_types']['RandomShuffleQueueV2'] == 1
    assert not size['not_counted'] and size['layers'][0]['name'] == 'conv1/conv'


@pytest.mark.parametrize('name', sorted(models.MODELS) + ['normed'])
def test_counts_of_the_frozen_are_those_of_the_model(name, synthetic):
    with networks.registered():
        layers, unknown = frozen.layers(_untrained(name, _images(synthetic, 1))[0])
        expected = info.measure(name, 24)
    norms = 16 + 24 if name == 'normed' else 0  # the gammas, folded
    assert not unknown
    for count, gone in (('params', norms), ('ops', 0), ('macs', 0)):
        assert sum(getattr(layer, count) for layer in layers) == expected[count] - gone
    counted = [layer for layer in expected['layers'] if layer['ops']]
    assert [(layer.name, layer.ops) for layer in layers if layer.ops] == [
        (layer['name'], layer['ops']) for layer in counted]


def test_counts_against_tensorflows_profiler(synthetic):
    """tf.profiler has 2 per multiply-accumulate and 1 per bias as we have, but nothing for ReLU
    and lrn (ours: 2 and 36), and counts pooling, softmax and preprocessing, free here."""
    graph, _ = _untrained('tuto', _images(synthetic, 1))
    with tf.Graph().as_default() as imported:
        images = tf.placeholder(tf.uint8, [1, 32, 32, 3])  # it cannot count an unknown batch
        tf.import_graph_def(graph, {'images:0': images}, name='')
        options = tf.profiler.ProfileOptionBuilder(
            tf.profiler.ProfileOptionBuilder.float_operation()).with_empty_output().order_by(
                'float_ops').build()
        options['account_type_regexes'] = ['^(Conv2D|MatMul|BiasAdd)$']
        theirs = tf.profiler.profile(imported, cmd='op', options=options).total_float_ops
        elements = {'Relu': 0, 'LRN': 0}
        for op in imported.get_operations():
            if op.type in ('Relu', 'LRN'):
                elements[op.type] += op.outputs[0].shape.num_elements()
    ours = sum(layer.ops for layer in frozen.layers(graph)[0])
    assert ours == theirs + 2 * elements['Relu'] + 36 * elements['LRN']


def test_info_of_any_graph(file, tmp_path):
    """Unknown operations and shapes show as unknown."""
    graph = frozen.read(file)
    for node in graph.node:
        if node.op == 'MaxPool':
            node.op = 'LearnedPool'
    path = tmp_path / 'odd.pb'
    path.write_bytes(graph.SerializeToString())
    text = processes.finish(processes.command('info.py', '--graph=%s' % path))
    assert 'LearnedPool' in text and 'not counted: ' in text and '?' in text
    size = info.measure_graph(str(path))
    assert size['params'] == info.measure('squeeze1', 24)['params']
    assert size['op_types']['LearnedPool'] == 2 and 'LearnedPool' in size['not_counted']
    text = processes.finish(processes.command('info.py', '--graph=' + file))
    assert 'total' in text and '146,570' in text and '22,836,024' in text
    assert '{:,} bytes'.format(os.path.getsize(file)) in text and '14 Conv2D' in text


def test_info_as_json(file):
    done = subprocess.run(processes.command('info.py', '--graph=' + file, '--json'),
                          stdout=subprocess.PIPE, universal_newlines=True)
    size, = json.loads(done.stdout)
    assert size['ops'] == 22836024 and size['bytes'] == os.path.getsize(file)


# SavedModel and the other engines


def test_saved_model(run, file, synthetic, tmp_path):
    directory = str(tmp_path / 'new' / '1')
    export.freeze(run, None, output=str(tmp_path / 'a.pb'), saved_model=directory)
    assert os.listdir(str(tmp_path / 'new')) == ['1']
    images = _images(synthetic)
    with tf.Graph().as_default(), tf.Session() as session:
        loaded = tf.saved_model.loader.load(session, [tf.saved_model.tag_constants.SERVING],
                                            directory)
        signature = loaded.signature_def['serving_default']
        assert signature.method_name == 'tensorflow/serving/predict'
        got = session.run({name: tensor.name for name, tensor in signature.outputs.items()},
                          {signature.inputs['images'].name: images})
    np.testing.assert_allclose(got['predictions'], _logits(file, images), atol=1e-5)
    np.testing.assert_allclose(got['probabilities'], _logits(file, images, 'probabilities'),
                               atol=1e-5)
    with pytest.raises(UserError, match='is there already'):
        export.freeze(run, None, output=str(tmp_path / 'a.pb'), saved_model=directory)


def test_a_saved_model_that_cannot_be_written(run, tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(UserError, match='name another --saved_model'):
        export.freeze(run, None, output=str(tmp_path / 'a.pb'),
                      saved_model=str(tmp_path / 'file' / 'model'))
    assert sorted(os.listdir(str(tmp_path))) == ['a.json', 'a.pb', 'file']


@pytest.mark.slow
def test_saved_model_cli(run, tmp_path):
    directory = str(tmp_path / '1')
    export.freeze(run, None, output=str(tmp_path / 'a.pb'), saved_model=directory)
    tool = os.path.join(os.path.dirname(sys.executable), 'saved_model_cli')
    output = processes.finish([tool, 'show', '--dir', directory, '--all'])
    assert "signature_def['serving_default']" in output
    for line in ("inputs['images'] tensor_info", 'dtype: DT_UINT8', 'shape: (-1, 32, 32, 3)',
                 "outputs['probabilities'] tensor_info", "outputs['predictions'] tensor_info",
                 'Method name is: tensorflow/serving/predict'):
        assert line in output, output


OTHER = """
import sys
import numpy as np
import tensorflow.compat.v1 as tf
file, model, images, output = sys.argv[1:]
images = np.load(images)
tf.disable_v2_behavior()
with tf.Graph().as_default(), tf.Session() as session:
    graph = tf.GraphDef.FromString(open(file, 'rb').read())
    tf.import_graph_def(graph, name='')
    logits = session.run('predictions:0', {'images:0': images})
if model:
    with tf.Graph().as_default(), tf.Session() as session:
        signature = tf.saved_model.loader.load(session, ['serve'], model).signature_def[
            'serving_default']
        served = session.run(signature.outputs['predictions'].name,
                             {signature.inputs['images'].name: images})
    assert abs(served - logits).max() < 1e-5
np.save(output, logits)
"""


@pytest.fixture(scope='module')
def engines():
    """Paths of the interpreters of all engines that are set up."""
    found = sorted(glob.glob(os.path.join(processes.ROOT, '.venv', 'tf*', 'bin', 'python')))
    if len(found) < 2:
        pytest.skip('one engine is set up: make setup ENGINE=... for another')
    return found


@pytest.mark.slow
def test_files_move_between_engines(run, normed_run, engines, synthetic, tmp_path):
    """Frozen by each of those set up, loaded by each: the same logits to 1e-4."""
    images = _images(synthetic, 100)
    np.save(str(tmp_path / 'images.npy'), images)
    files = {}
    for number, python in enumerate(engines):
        files[python] = str(tmp_path / ('%d.pb' % number)), str(tmp_path / str(number))
        processes.finish([python, os.path.join(processes.ROOT, 'freeze_graph.py'), '--run=' + run,
                          '--output=' + files[python][0], '--saved_model=' + files[python][1]])
    normed = str(tmp_path / 'normed.pb')
    export.freeze(normed_run, None, output=normed)
    expected = {}
    for path, model in list(files.values()) + [(normed, '')]:
        for python in engines:
            processes.finish([python, '-c', OTHER, path, model, str(tmp_path / 'images.npy'),
                              str(tmp_path / 'logits.npy')])
            logits = np.load(str(tmp_path / 'logits.npy'))
            first = expected.setdefault(path == normed, logits)
            np.testing.assert_allclose(logits, first, atol=1e-4)
    np.testing.assert_allclose(expected[True], _logits(normed, images), atol=1e-4)
    # Nothing in a file depends on who froze it.
    assert len({_read_json(path)['sha256'] for path, _ in files.values()}) == 1


# What is in the repository


TRAINED = sorted(glob.glob(os.path.join(processes.ROOT, 'trained_models', '*.pb')))


def test_tuto_is_there():
    assert 'tuto.pb' in map(os.path.basename, TRAINED)


@pytest.mark.parametrize('path', TRAINED, ids=os.path.basename)
def test_trained_models_are_what_their_json_says(path):
    result = _read_json(path)
    with open(path, 'rb') as stream:
        content = stream.read()
    assert hashlib.sha256(content).hexdigest() == result['sha256']
    assert len(content) == result['bytes'] < 8e6
    assert result['images'] == 10000 and result['step'] >= 10000
    assert os.path.splitext(os.path.basename(path))[0] == result['model']


@pytest.mark.slow
@pytest.mark.parametrize('path', TRAINED, ids=os.path.basename)
def test_trained_models_answer_as_recorded(path, cifar10):
    figures = evaluation.evaluate_graph(path, None)
    assert figures['images'] == 10000
    assert abs(figures['correct'] - _read_json(path)['correct']) <= 2
