"""A frozen run answers like eval.py, on every engine, and its json file describes it."""

import collections
import glob
import hashlib
import json
import os
import re
import shutil

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from permafrost.datasets import loading, registry
from permafrost.datasets.synthetic import make_synthetic
from permafrost.errors import UsageError, UserError
from permafrost.evaluation import evaluate
from permafrost.evaluation.evaluator import Evaluator
from permafrost.evaluation.frozen_graphs import graph_def
from permafrost.experiments import model_info
from permafrost.export import freeze, layer_counts, verify
from permafrost.training.checkpoints import finding
from tests import in_process, networks, processes
from tests.environment import small_disk
from tests.export.helpers import logits_of, read_json, some_images, untrained

TRAINING_OPS = re.compile(
    'Queue|Switch|Merge|Assign|Variable|VarHandle|Random|Dropout|BatchNorm|Reader|Iterator|Restore|'
    'Save|PyFunc|Identity|NoOp')
PUBLISHED_BYTES = {'tuto': 4278750, 'alex4': 5979938, 'nin2': 3881548, 'squeeze1': 602892}


@pytest.mark.parametrize('weights', ['averaged', 'raw'])
@pytest.mark.parametrize('name', ['run', 'normed_run'])
def test_logits_and_accuracy_are_those_of_eval(name, weights, synthetic, tmp_path, request):
    run, images = request.getfixturevalue(name), some_images(synthetic, 500)
    path = str(tmp_path / 'a.pb')
    result = freeze.freeze(run, None, weights=weights, output=path)
    with Evaluator(run, None, weights=weights, tta='flip') as evaluator:
        metrics = evaluator.evaluate(*finding.find_checkpoint(run))
        expected = evaluator.session.run(evaluator.inference.predictions,
                                         {evaluator.inference.images: images})
    scale = max(1, np.abs(expected).max())
    np.testing.assert_allclose(logits_of(path, images) / scale, expected / scale, atol=1e-5)
    assert result['images'] == 500 and abs(result['correct'] - metrics['correct']) <= 1
    assert result['weights'] == metrics['weights'] == weights
    of_graph = evaluate.evaluate_frozen_graph(path, None, dataset='synthetic',
                                              data_dir=synthetic.directory, tta='flip')
    assert of_graph['correct'] == result['correct'] and of_graph['images'] == 500
    assert of_graph['tta'] == 'flip'
    assert abs(of_graph['correct_tta'] - metrics['correct_tta']) <= 1


def test_batch_normalization_of_a_trained_run_is_folded(normed_run, tmp_path):
    reader = tf.train.load_checkpoint(finding.find_checkpoint(normed_run)[1])
    assert np.abs(reader.get_tensor('conv2/bn/moving_mean')).min() > 0  # it has been trained
    assert np.abs(reader.get_tensor('conv2/bn/moving_variance') - 1).max() > 0.01
    assert reader.has_tensor('conv2/bn/moving_mean/ExponentialMovingAverage')
    result = freeze.freeze(normed_run, None, output=str(tmp_path / 'normed.pb'))
    assert result['correct'] > 150  # of 500; chance gives 50
    assert not [t for t in result['op_types'] if 'Norm' in t]
    # gamma, beta, and weights are 1,200 + 32, 3,456 + 48 and 250: the gammas are gone
    assert result['params'] == 1200 + 16 + 3456 + 24 + 250


def test_an_earlier_step_is_frozen(run, synthetic, tmp_path):
    assert freeze.freeze(run, None, step=10, output=str(tmp_path / 'ten.pb'))['step'] == 10
    freeze.freeze(run, None, output=str(tmp_path / 'last.pb'))
    ten, last = (logits_of(str(tmp_path / name), some_images(synthetic)) for name in (
        'ten.pb', 'last.pb'))
    assert np.abs(ten - last).max() > 1e-3


def test_the_json_file_describes_the_graph(run, file):
    result = read_json(file)
    with open(file, 'rb') as stream:
        content = stream.read()
    graph = graph_def.read_graph(file)
    assert result['sha256'] == hashlib.sha256(content).hexdigest()
    assert result['bytes'] == len(content)
    assert result['op_types'] == dict(collections.Counter(node.op for node in graph.node))
    size = model_info.measure_model('squeeze1', 24)
    assert [result[c] for c in model_info.COUNTS] == [size[c] for c in model_info.COUNTS]
    assert (result['model'], result['run'], result['step']) == ('squeeze1', run, 20)
    assert result['classes'] == list(registry.CIFAR10_CLASSES) and result['image_size'] == 24
    assert result['versions']['tensorflow'] == tf.__version__
    assert result['engine'] in ('tf1', 'tf1-mkl', 'tf2')
    assert result['accuracy'] == result['correct'] / result['images']
    assert 'this file' in result['accuracy_of']
    assert 0 <= result['largest_difference'] <= 1e-5


@pytest.mark.parametrize('name', networks.EVERY + ['normed'])
def test_every_model_freezes_to_the_graph_of_eval(name, synthetic):
    images = some_images(synthetic, 8)
    with networks.registered():
        graph, expected = untrained(name, images)
    types = layer_counts.op_types(graph)
    assert set(types) <= verify.ALLOWED_OPS and not [t for t in types if TRAINING_OPS.search(t)]
    assert types['Placeholder'] == 1
    assert not graph.library.function and graph.versions.producer <= 134
    scale = max(1, np.abs(expected).max())
    np.testing.assert_allclose(logits_of(graph, images) / scale, expected / scale, atol=1e-5)
    probabilities = logits_of(graph, images, 'probabilities')
    shifted = np.exp(expected - expected.max(1, keepdims=True))
    np.testing.assert_allclose(probabilities, shifted / shifted.sum(1, keepdims=True), atol=1e-5)
    nodes = {node.name: node for node in graph.node}
    assert nodes['images'].attr['dtype'].type == tf.uint8.as_datatype_enum
    assert [d.size for d in nodes['images'].attr['shape'].shape.dim] == [-1, 32, 32, 3]
    assert [label.decode() for label in nodes['labels'].attr['value'].tensor.string_val] == list(
        registry.CIFAR10_CLASSES)


def test_an_image_without_crop_is_used_whole(synthetic):
    images = some_images(synthetic, 8)
    graph, expected = untrained('cs231n', images, 'plain')
    np.testing.assert_allclose(logits_of(graph, images), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('name', sorted(PUBLISHED_BYTES))
def test_no_file_is_larger_than_published(name, synthetic):
    graph, _ = untrained(name, some_images(synthetic, 1))
    assert graph.ByteSize() <= PUBLISHED_BYTES[name]


def test_preprocessing_takes_eleven_nodes(synthetic):
    """The rest is one node for each operation of the network."""
    graph, _ = untrained('tuto', some_images(synthetic, 1))
    computing = [node.op for node in graph.node if node.op not in ('Const', 'Placeholder')]
    assert len(computing) <= 11 + 2 * 3 + 2 * 2 + 1 + 2 * 3 + 2 + 1, computing


def test_inputs_can_be_fed(file, synthetic):
    images = some_images(synthetic)
    pixels = logits_of(file, images, 'inputs')
    assert pixels.shape == (64, 24, 24, 3)
    np.testing.assert_allclose(pixels.mean((1, 2, 3)), 0, atol=1e-4)
    np.testing.assert_allclose(pixels.std((1, 2, 3)), 1, atol=1e-4)
    np.testing.assert_allclose(logits_of(file, pixels, feed='inputs'), logits_of(file, images),
                               rtol=1e-5, atol=1e-5)


def test_logits_of_nin2_are_deterministic(synthetic):
    images = some_images(synthetic, 8)
    graph, _ = untrained('nin2', images)
    np.testing.assert_array_equal(logits_of(graph, images), logits_of(graph, images))


def test_mistakes_are_refused_and_leave_nothing_behind(run, tmp_path):
    def refused(error, message, run=run, **options):
        with pytest.raises(error, match=message):
            freeze.freeze(run, None, **options)
    (tmp_path / 'file').write_text('')
    refused(UserError, 'not a run directory', run=str(tmp_path / 'none'))
    refused(UsageError, 'must end in .pb', output='a.json')
    refused(UsageError, 'must end in .pb', output=str(tmp_path / '.pb'))
    refused(UsageError, 'config.json would be overwritten', output=os.path.join(run, 'config.pb'))
    (tmp_path / 'd.pb').mkdir()
    refused(UsageError, 'd.pb is a directory: name a file', output=str(tmp_path / 'd.pb'))
    (tmp_path / 'd.pb').rmdir()
    refused(UsageError, 'no checkpoint at step 5', step=5)
    refused(UserError, 'cannot write', output=str(tmp_path / 'file/a.pb'))
    refused(UserError, 'exists: name another --saved_model', saved_model=str(tmp_path))
    empty = str(tmp_path / 'empty')
    shutil.copytree(run, empty, ignore=shutil.ignore_patterns('model.ckpt*'))
    refused(UserError, 'no checkpoint in', run=empty)
    assert sorted(os.listdir(str(tmp_path))) == ['empty', 'file']


def test_a_run_is_frozen_in_its_own_directory(run, tmp_path):
    """Without --output. The shipped graphs change only if they are named."""
    copy = str(tmp_path / 'copy')
    shutil.copytree(run, copy)
    freeze.freeze(copy, None)
    assert read_json(os.path.join(copy, 'squeeze1.pb'))['run'] == copy
    freeze.freeze(copy, None, step=10)  # replaces it
    assert read_json(os.path.join(copy, 'squeeze1.pb'))['step'] == 10


def test_a_run_that_does_not_say_what_trained_it_is_frozen(run, tmp_path):
    copy = str(tmp_path / 'copy')
    shutil.copytree(run, copy)
    path = tmp_path / 'copy' / 'config.json'
    value = json.loads(path.read_text())
    del value['versions']
    path.write_text(json.dumps(value))
    assert freeze.freeze(copy, None)['trained_with'] == []


def damage(run, name):
    """Set the variables of the last checkpoint whose names begin with `name` to NaN."""
    checkpoint = finding.find_checkpoint(run)[1]
    reader = tf.train.load_checkpoint(checkpoint)
    with tf.Graph().as_default(), tf.Session() as session:
        for variable in reader.get_variable_to_shape_map():
            value = reader.get_tensor(variable)
            tf.get_variable(variable, initializer=np.full_like(value, np.nan)
                            if variable.startswith(name) else value)
        session.run(tf.global_variables_initializer())
        tf.train.Saver().save(session, checkpoint, write_meta_graph=False)


def test_a_network_that_returns_nan_is_neither_evaluated_nor_frozen(synthetic, tmp_path):
    run = str(tmp_path / 'run')
    networks.train(synthetic, run, 2, 'tiny')
    damage(run, 'logits/biases')
    with networks.registered():
        with pytest.raises(UserError, match='returns NaN for image 0: its weights'):
            evaluate.evaluate_run(run, None)
        with pytest.raises(UserError, match='not written: logits/biases has NaN'):
            freeze.freeze(run, None)
    assert not os.path.exists(os.path.join(run, 'tiny.pb'))


def test_without_test_images_the_accuracy_is_unknown(tmp_path, capsys):
    dataset = make_synthetic(str(tmp_path / 'data'), train=20, test=0)
    networks.train(dataset, tmp_path / 'run', 2, 'squeeze1', changes=['batch_size=8'])
    result = freeze.freeze(str(tmp_path / 'run'), None)
    assert 'has no test images, so the accuracy is unknown' in capsys.readouterr().out
    assert (result['accuracy'], result['correct'], result['images']) == (None, None, 0)
    assert read_json(str(tmp_path / 'run' / 'squeeze1.pb')) == result


def test_without_test_images_a_few_training_images_verify(tmp_path, monkeypatch):
    """All of them may not fit in memory."""
    dataset = make_synthetic(str(tmp_path / 'data'), train=100, test=0)
    networks.train(dataset, tmp_path / 'run', 2, 'squeeze1', changes=['batch_size=8'])
    verified = []

    def verify_and_note(content, session_config, images, labels, expected):
        verified.append(images)
        return verify.verify(content, session_config, images, labels, expected)
    every_25th = loading.every_nth(dataset, 'train', 25)
    monkeypatch.setattr(freeze, 'verify', verify_and_note)
    monkeypatch.setattr(freeze, 'BATCH_SIZE', 4)
    monkeypatch.setattr(loading, 'load', None)
    assert freeze.freeze(str(tmp_path / 'run'), None)['accuracy'] is None
    np.testing.assert_array_equal(verified[0], every_25th)


def test_wrong_flags_are_one_line(tmp_path):
    for code, flag, message in ((1, f'--log_dir={tmp_path}/none', 'no run under'),
                                (2, '--weights=avreaged', 'averaged')):
        result = in_process.run('freeze_graph.py', flag)
        assert result.code == code and message in result.stderr
        assert result.stderr.startswith('error: ') and result.stderr.count('\n') == 1


def _write_old_files(directory):
    """Write files as of an earlier freeze; return {name: content}."""
    for name in ('a.pb', 'a.json'):
        (directory / name).write_text('{"sha256": "old"}')
    return dict.fromkeys(['a.pb', 'a.json'], '{"sha256": "old"}')


def _contents(directory):
    return {path.name: path.read_text() for path in directory.iterdir()}


def test_a_failed_write_leaves_the_old_files(run, tmp_path, monkeypatch):
    old = _write_old_files(tmp_path)

    def fail(handle):
        raise OSError(5, 'Input/output error')
    monkeypatch.setattr(os, 'fsync', fail)
    with pytest.raises(UserError, match=r'cannot write .*a.pb \(Input/output error\)'):
        freeze.freeze(run, None, output=str(tmp_path / 'a.pb'))
    assert _contents(tmp_path) == old


def test_a_link_stays_one(tmp_path):
    (tmp_path / 'served').mkdir()
    (tmp_path / 'a.pb').symlink_to(tmp_path / 'served' / 'current.pb')
    path = str(tmp_path / 'a.pb')
    freeze.write({path: 'graph', path + '.json': '{}'}, path)
    assert os.path.islink(path) and _contents(tmp_path / 'served') == {'current.pb': 'graph'}


def test_a_full_disk_leaves_the_old_files(run, tmp_path):
    with small_disk(tmp_path, '64k'):
        old = _write_old_files(tmp_path)
        with pytest.raises(UserError, match='No space left on device'):
            freeze.freeze(run, None, output=str(tmp_path / 'a.pb'))
        assert _contents(tmp_path) == old


# Saves the logits of each frozen file, after a comparison with those of its SavedModel, if any.
LOAD_AND_RUN = """
import os, sys
import numpy as np
import tensorflow.compat.v1 as tf
images, output = np.load(sys.argv[1]), []
tf.disable_v2_behavior()
for file in sys.argv[3:]:
    with tf.Graph().as_default(), tf.Session() as session:
        graph = tf.GraphDef.FromString(open(file, 'rb').read())
        tf.import_graph_def(graph, name='')
        output.append(session.run('predictions:0', {'images:0': images}))
    model = file[:-len('.pb')]
    if os.path.isdir(model):
        with tf.Graph().as_default(), tf.Session() as session:
            signature = tf.saved_model.loader.load(session, ['serve'], model).signature_def[
                'serving_default']
            served = session.run(signature.outputs['predictions'].name,
                                 {signature.inputs['images'].name: images})
        assert abs(served - output[-1]).max() < 1e-5
np.save(sys.argv[2], output)
"""


def _logits_by_engine(engines, files, images, folder):
    """Return the logits of each of `files`, from each engine."""
    np.save(str(folder / 'images.npy'), images)
    found = []
    for python in engines:
        processes.finish([python, '-c', LOAD_AND_RUN, str(folder / 'images.npy'),
                          str(folder / 'logits.npy'), *files])
        found.append(np.load(str(folder / 'logits.npy')))
    return found


@pytest.fixture(scope='module')
def engines():
    """Paths of the interpreters of all engines that are set up."""
    pythons = [path for name in ('tf1', 'tf1-mkl', 'tf2')
               for path in glob.glob(os.path.join(processes.ROOT, '.venv', name, 'bin', 'python'))]
    if len(pythons) < 2:
        pytest.skip('only one engine is set up: run make setup ENGINE=... for another')
    return pythons


@pytest.mark.slow
def test_every_engine_loads_the_files_of_every_engine(run, normed_run, engines, synthetic,
                                                      tmp_path):
    """All give the same logits to 1e-4."""
    images = some_images(synthetic, 20)
    files = [str(tmp_path / f'{number}.pb') for number in range(len(engines))]
    for python, path in zip(engines, files):
        processes.finish([python, os.path.join(processes.ROOT, 'freeze_graph.py'), '--run=' + run,
                          '--output=' + path, '--saved_model=' + path[:-len('.pb')]])
    # Nothing in a file depends on the engine that froze it.
    assert len({read_json(path)['sha256'] for path in files}) == 1
    files.append(str(tmp_path / 'normed.pb'))
    freeze.freeze(normed_run, None, output=files[-1])
    expected = [logits_of(path, images) for path in files]
    for name in ('activated', 'davidnet_tricks', 'xception_mini'):  # with operations of few models
        with networks.registered():
            graph, logits = untrained(name, images)
        expected.append(logits)
        files.append(str(tmp_path / f'{name}.pb'))
        with open(files[-1], 'wb') as stream:
            stream.write(graph.SerializeToString())
    for found in _logits_by_engine(engines, files, images, tmp_path):
        for logits, those_here in zip(found, expected):
            np.testing.assert_allclose(logits, those_here,
                                       atol=1e-4 * max(1., np.abs(those_here).max()))


@pytest.mark.parametrize('changes', [
    'structured_sparsity=0.5', pytest.param('sparsity=0.75', marks=pytest.mark.slow)])
def test_a_pruned_run_is_smaller(changes, synthetic, tmp_path):
    """Zeros compress; filters that are zero are left out."""
    dense, pruned = str(tmp_path / 'dense'), str(tmp_path / 'pruned')
    with networks.registered():
        networks.train(synthetic, dense, 5)
        networks.train(synthetic, pruned, 5,
                       changes=[changes, 'prune_epochs=0.002', 'spared_layers=last'])
        first, second = freeze.freeze(dense, None), freeze.freeze(pruned, None)
        with Evaluator(pruned, None) as evaluator:
            metrics = evaluator.evaluate(*finding.find_checkpoint(pruned))
    assert second['correct'] == metrics['correct'] and first['sparsity'] == 0
    assert read_json(second['run'] + '/normed.pb') == second
    if changes == 'sparsity=0.75':
        weights, last = (5 * 5 * 3 * 16, 3 * 3 * 16 * 24), 24 * 10
        assert second['sparsity'] == pytest.approx(.75 * sum(weights) / (sum(weights) + last))
        assert second['gzip_bytes'] < .55 * first['gzip_bytes']
        assert second['params'] == first['params']
    else:  # 8 of 16 filters, 16 of 24
        assert second['params'] == 5 * 5 * 3 * 8 + 8 + 3 * 3 * 8 * 16 + 16 + 16 * 10 + 10 + (
            first['params'] - (5 * 5 * 3 * 16 + 16 + 3 * 3 * 16 * 24 + 24 + 24 * 10 + 10))
        assert second['bytes'] < .6 * first['bytes'] and second['ops'] < .6 * first['ops']
