"""The loss of a student, against NumPy, and the teacher in its graph."""

import dataclasses
import os

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from permafrost import runs
from permafrost.recipes import overrides
from permafrost.training.compression import distillation
from tests.export.helpers import untrained
from tests.training.helpers import train_graph

TEACHER_LOGITS = np.random.RandomState(0).normal(0, 3, (8, 10)).astype(np.float32)


def softmax(logits):
    exponentials = np.exp(logits - logits.max(1, keepdims=True))
    return exponentials / exponentials.sum(1, keepdims=True)


@pytest.mark.parametrize('temperature, weight, smoothing', [(1, 1, 0), (5, 0.25, 0.1)])
def test_the_loss_has_its_share_of_the_divergence(default_graph, temperature, weight, smoothing):
    graph = train_graph('lenet5', [
        f'distillation_temperature={temperature}', f'distillation_weight={weight}',
        f'label_smoothing={smoothing}'], teacher_logits=tf.constant(TEACHER_LOGITS))
    logits = tf.get_default_graph().get_tensor_by_name('logits/BiasAdd:0')
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        scalars, values = session.run([graph.scalars, logits])
    target, answer = (softmax(each / temperature) for each in (TEACHER_LOGITS, values))
    divergence = temperature ** 2 * (target * np.log(target / answer)).sum(1).mean()
    log_probs = np.log(softmax(values))
    labels = -((1 - smoothing) * log_probs[np.arange(8), np.arange(8)]
               + smoothing * log_probs.mean(1)).mean()
    assert scalars['distillation'] == pytest.approx(divergence, rel=1e-4)
    assert scalars['loss'] - scalars['weight_decay'] == pytest.approx(
        (1 - weight) * labels + weight * divergence, rel=1e-4)
    assert scalars['cross_entropy'] == pytest.approx(-log_probs[range(8), range(8)].mean(),
                                                     rel=1e-5)


def test_a_student_that_agrees_has_no_loss_and_no_gradient(default_graph):
    recipe = overrides.get_recipe('lenet5')
    logits = tf.constant(TEACHER_LOGITS)
    loss = distillation.soft_loss(recipe, logits, tf.constant(TEACHER_LOGITS))
    gradient, = tf.gradients(loss, logits)
    with tf.Session() as session:
        for value in session.run([loss, gradient]):
            np.testing.assert_allclose(value, np.zeros_like(value), atol=1e-5)


def test_at_high_temperatures_logits_are_matched(default_graph):
    """Section 2.1 of the paper: the gradient tends to the difference of centred logits / N."""
    recipe = dataclasses.replace(overrides.get_recipe('lenet5'), distillation_temperature=1000.)
    values = TEACHER_LOGITS[::-1].copy()
    logits = tf.constant(values)
    gradient, = tf.gradients(distillation.soft_loss(recipe, logits, tf.constant(TEACHER_LOGITS)),
                             logits)
    centred = [each - each.mean(1, keepdims=True) for each in (values, TEACHER_LOGITS)]
    with tf.Session() as session:
        np.testing.assert_allclose(session.run(gradient), (centred[0] - centred[1]) / 10,
                                   atol=0.02)


def test_a_teacher_answers_as_its_file_and_is_not_trained(default_graph, tmp_path):
    images = np.random.RandomState(1).randint(0, 256, (8, 32, 32, 3)).astype(np.uint8)
    graph, expected = untrained('lenet5', images)
    teacher = distillation.Teacher('there', graph.SerializeToString(), graph)
    batch = tf.constant(images)
    logits = teacher.logits(batch)
    # The student has layers of the same names.
    student = train_graph('lenet5', teacher_logits=logits)
    variables = {variable.op.name for variable in tf.global_variables()}
    assert 'conv1/weights' in variables and not any('teacher' in name for name in variables)
    assert tf.gradients(student.scalars['loss'], logits)[0] is not None  # it is in the loss
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        for _ in range(2):
            np.testing.assert_allclose(session.run(logits), expected, rtol=1e-4, atol=1e-4)
            session.run(student.train)
    copy = tmp_path / runs.TEACHER
    copy.write_bytes(b'of a start that was killed before it wrote config.json')
    teacher.save(str(tmp_path))
    assert copy.read_bytes() == teacher.content and len(os.listdir(str(tmp_path))) == 1
