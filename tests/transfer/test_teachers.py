"""Teachers: where they are read from, what is refused, and runs that they teach."""

import dataclasses
import os
import shutil

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from google.protobuf import text_format

from permafrost import runs
from permafrost.errors import UserError
from permafrost.evaluation.frozen_graphs import graph_def
from permafrost.experiments import train_and_evaluate
from permafrost.export import freeze
from permafrost.training.checkpoints import finding
from permafrost.transfer import teachers
from tests import networks
from tests.environment import needs_bfloat16
from tests.export.helpers import logits_of, some_images

ONE_THREAD = tf.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=1)


@pytest.fixture(autouse=True)
def models():
    with networks.registered():
        yield


@pytest.fixture(scope='module')
def graph(trained_normed, tmp_path_factory):
    """The frozen graph of a run."""
    path = str(tmp_path_factory.mktemp('teacher') / 'normed.pb')
    with networks.registered():
        freeze.freeze(trained_normed, None, output=path)
    return path


def test_a_run_teaches_what_its_frozen_graph_does(trained_normed, graph, synthetic):
    """The file of a graph is kept as it is; the bytes of a run are those that freezing writes."""
    by_graph, by_run = (teachers.read(source, synthetic) for source in (graph, trained_normed))
    with open(graph, 'rb') as stream:
        content = stream.read()
    assert by_graph.content == by_run.content == content
    assert by_run.source.startswith(trained_normed + ' (step 60, averaged weights')
    assert by_graph.classes == tuple(synthetic.classes)
    images = some_images(synthetic)
    with tf.Graph().as_default(), tf.Session() as session:
        logits = by_graph.logits(tf.constant(images))
        assert logits.shape.as_list() == [len(images), 10]
        np.testing.assert_allclose(session.run(logits), logits_of(graph, images), atol=1e-5)


def test_a_graph_in_text_is_kept_in_binary(graph, synthetic, tmp_path):
    text = tmp_path / 'a.pbtxt'
    text.write_text(text_format.MessageToString(graph_def.read_graph(graph)))
    teachers.read(str(text), synthetic).save(str(tmp_path))
    kept = teachers.read(str(tmp_path / runs.TEACHER), synthetic)
    images = some_images(synthetic, 4)
    np.testing.assert_array_equal(logits_of(kept.graph, images), logits_of(graph, images))


def changed(path, output, change):
    """Write the graph of `path` to `output` with the nodes by name changed by `change`."""
    graph = graph_def.read_graph(path)
    change({node.name: node for node in graph.node})
    with open(str(output), 'wb') as stream:
        stream.write(graph.SerializeToString())
    return str(output)


def set_side(nodes):
    nodes['images'].attr['shape'].shape.dim[1].size = 64


def leave_shape_open(nodes):
    nodes['images'].attr['shape'].shape.CopyFrom(tf.TensorShape(None).as_proto())


def test_a_teacher_that_takes_images_of_any_shape_is_not_refused(graph, synthetic, tmp_path):
    teachers.read(changed(graph, tmp_path / 'a.pb', leave_shape_open), synthetic)


def rename(name):
    def change(nodes):
        nodes[name].name = 'other'
    return change


def set_classes(nodes):
    nodes['labels'].attr['value'].tensor.CopyFrom(tf.make_tensor_proto(['cat', 'dog']))


@pytest.mark.parametrize('change, message', [
    (set_side, r'is fed images \(.*, 64, 32, 3\), but those of \w+ are \(32, 32, 3\)'),
    (rename('images'), 'has no nodes `images`'),
    (rename('predictions'), 'has no nodes `images`.* and `predictions`'),
    (set_classes, r'names other classes .*\(2 classes: cat, dog, \.\.\., not 10 classes: ')])
def test_a_teacher_of_other_images_or_classes_is_refused(graph, synthetic, tmp_path, change,
                                                         message):
    path = changed(graph, tmp_path / 'a.pb', change)
    with pytest.raises(UserError, match=message) as error:
        teachers.read(path, synthetic)
    assert '\n' not in str(error.value) and path in str(error.value)


def test_a_teacher_that_is_not_there_or_hostile_is_refused(graph, synthetic, tmp_path):
    with pytest.raises(UserError, match="model named 'gone': name .* one of alex0, .*--teacher"):
        teachers.read('gone', synthetic)

    def write_files(nodes):
        nodes['probabilities'].op = 'WriteFile'  # not needed for the logits: it is left out
        nodes['inputs'].op = 'ReadFile'

    with pytest.raises(UserError, match='ReadFile'):
        teachers.read(changed(graph, tmp_path / 'a.pb', write_files), synthetic)


def train(synthetic, run, steps, teacher, **options):
    setup = networks.train_setup(
        synthetic, run, steps, 'normed', changes=['augmentation=crop,flip'], deterministic=True,
        teacher=teacher, **options)
    assert train_and_evaluate.train(setup, ONE_THREAD) == 0


def test_a_taught_run_goes_on_alike_with_its_copy_of_the_teacher(graph, synthetic, tmp_path):
    """It ends with the bits of one that was not interrupted, moved and without the original."""
    original, whole, first, moved = (str(tmp_path / name) for name in (
        'teacher.pb', 'whole', 'first', 'moved'))
    shutil.copy(graph, original)
    train(synthetic, whole, 6, original)
    train(synthetic, first, 3, original)
    os.remove(original)
    shutil.move(first, moved)
    train(synthetic, moved, 6, original, resume=True)
    with finding.open_checkpoint(finding.find_checkpoint(whole)[1]) as one, \
            finding.open_checkpoint(finding.find_checkpoint(moved)[1]) as other:
        names = sorted(one.get_variable_to_shape_map())
        assert names == sorted(other.get_variable_to_shape_map())
        assert not any('teacher' in name for name in names)
        for name in names:
            np.testing.assert_array_equal(one.get_tensor(name), other.get_tensor(name))
    config, extra = runs.read_config(moved)
    assert config.teacher == original and len(extra['teacher_sha256']) == 64
    freeze.freeze(moved, None)
    frozen = graph_def.read_graph(os.path.join(moved, 'normed.pb'))
    assert not any('teacher' in node.name for node in frozen.node)
    plain = str(tmp_path / 'plain')
    train(synthetic, plain, 3, None)
    with finding.open_checkpoint(finding.find_checkpoint(plain)[1]) as alone:
        taught = one.get_tensor('conv1/weights')  # the teacher makes a difference
        assert not np.array_equal(alone.get_tensor('conv1/weights'), taught)


@needs_bfloat16
def test_a_teacher_computes_in_the_type_of_the_recipe(graph, synthetic, tmp_path):
    """And the run keeps the file as it was."""
    setup = networks.train_setup(synthetic, str(tmp_path), 1, 'normed',
                                 changes=['compute_dtype=bfloat16'], teacher=graph)
    teacher = teachers.with_teacher(setup).teacher
    exact = teachers.read(graph, synthetic)
    assert teacher.content == exact.content
    images = some_images(synthetic)
    with tf.Graph().as_default(), tf.Session() as session:
        found, expected = session.run([each.logits(tf.constant(images))
                                       for each in (teacher, exact)])
    assert not np.array_equal(found, expected)
    np.testing.assert_allclose(found, expected, atol=0.03 * np.abs(expected).max())


def test_a_run_refuses_another_teacher_than_it_began_with(graph, synthetic, tmp_path):
    run = str(tmp_path / 'run')
    train(synthetic, run, 1, graph)
    with open(os.path.join(run, runs.TEACHER), 'ab') as stream:
        stream.write(b'\x0a\x00')  # an empty node
    setup = networks.train_setup(synthetic, run, 2, 'normed', resume=True, teacher=graph)
    with pytest.raises(UserError, match='teacher.pb is not a frozen graph|not the teacher that'):
        teachers.with_teacher(setup)
    os.remove(os.path.join(run, runs.TEACHER))  # then the original serves
    assert teachers.with_teacher(setup).teacher.source == graph
    moved = dataclasses.replace(setup.config, teacher=str(tmp_path / 'no.pb'))
    with pytest.raises(UserError, match='teacher.pb is missing, and so is the teacher .*no.pb: '):
        teachers.with_teacher(setup._replace(config=moved))
