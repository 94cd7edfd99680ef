"""The ranges that quantization-aware training adds to frozen graphs, and their int8 files."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from permafrost import engines
from permafrost.errors import UserError
from permafrost.evaluation.frozen_graphs import graph_def
from permafrost.export import fake_quant, freeze
from permafrost.export.conversion import network
from tests import networks
from tests.export.helpers import logits_of, some_images, untrained

QAT = ['quantization_aware_epochs=1000']  # all of the training


@pytest.fixture(scope='module')
def trained(synthetic, tmp_path_factory):
    """A run of 20 steps in integers, with a checkpoint at 10."""
    run = str(tmp_path_factory.mktemp('qat') / 'run')
    networks.train(synthetic, run, 20, changes=QAT, save_steps=10, deterministic=True)
    return run


@pytest.fixture(scope='module')
def graph(trained, tmp_path_factory):
    """Its frozen graph; freezing has compared its logits with those of evaluation."""
    path = str(tmp_path_factory.mktemp('qat') / 'normed.pb')
    with networks.registered():
        freeze.freeze(trained, None, output=path)
    return graph_def.read_graph(path)


def constants(graph):
    return {node.name: tf.make_ndarray(node.attr['value'].tensor) for node in graph.node
            if node.op == 'Const'}


def test_frozen_weights_are_integers_times_a_step_for_each_channel(graph):
    """Also after batch normalization is folded into them."""
    weights = {name: value for name, value in constants(graph).items() if name.endswith('/weights')}
    assert sorted(weights) == ['conv1/weights', 'conv2/weights', 'conv3/weights']
    for value in weights.values():
        integers = value / (np.abs(value).max((0, 1, 2)) / 127)
        np.testing.assert_allclose(integers, np.round(integers), atol=1e-3)
        assert len(np.unique(np.round(integers))) > 50


def test_frozen_graphs_have_the_range_of_what_each_layer_takes(graph, synthetic):
    ranges = fake_quant.ranges(graph)
    assert list(ranges) == ['inputs', 'conv1/Relu', 'conv2/Relu', 'conv3/Relu', 'predictions']
    for name, (smallest, largest) in ranges.items():
        values = logits_of(graph, some_images(synthetic), name)
        assert smallest <= 0 < largest and 0.4 * values.max() < largest < 2.5 * values.max()
    assert not [node for node in graph.node if node.op.startswith('FakeQuant')]


def test_inserted_ranges_round_what_the_layers_take(graph, synthetic):
    images = some_images(synthetic)
    inserted = fake_quant.insert_ranges(network.extract(graph, 'images'), fake_quant.ranges(graph))
    inputs, logits = (logits_of(inserted, images, name) for name in
                      ('inputs/rounded', 'predictions'))
    assert len(np.unique(inputs)) <= 256 and len(np.unique(logits)) <= 256
    expected = logits_of(graph, images)
    step = np.ptp(fake_quant.ranges(graph)['predictions']) / 255
    assert 0 < np.abs(logits - expected).max() < 8 * step


@pytest.mark.parametrize('value', [
    np.float32([1, 2]), np.float32([0, np.nan]), np.float32([-1, np.inf]), np.float32([0, 1, 2]),
    np.float32(3), np.float64([-1, 1]), np.array([b'a', b'b'])])
def test_a_damaged_range_is_an_error(value):
    graph = tf.GraphDef()
    graph.node.add(name='x', op='Placeholder')
    node = graph.node.add(name='x/activation_range', op='Const')
    node.attr['value'].tensor.CopyFrom(tf.make_tensor_proto(value))
    with pytest.raises(UserError, match="^'x/activation_range' is not a range of activations: "):
        fake_quant.ranges(graph)
    node.attr['value'].tensor.CopyFrom(tf.make_tensor_proto([-1., 2.]))
    np.testing.assert_array_equal(fake_quant.ranges(graph)['x'], [-1, 2])
    del graph.node[0]
    with pytest.raises(UserError, match='is not a range of activations'):
        fake_quant.ranges(graph)


def test_other_graphs_are_frozen_as_ever_and_have_no_ranges():
    graph, _ = untrained('squeeze1', np.zeros([1, 32, 32, 3], np.uint8))
    assert fake_quant.ranges(graph) == {}


@pytest.mark.parametrize('model', ['activated', 'pooled'])
def test_ranges_that_do_not_suffice_need_calibration(model):
    """Activations of several operations; a pool of what folding has scaled."""
    images = np.zeros([1, 32, 32, 3], np.uint8)
    with networks.registered():
        graph, expected = untrained(model, images, changes=QAT)
    assert fake_quant.ranges(graph) and not fake_quant.sufficient_ranges(graph)
    np.testing.assert_allclose(logits_of(graph, images), expected, atol=1e-5)


def test_a_resumed_training_goes_on_with_the_same_ranges(trained, synthetic, tmp_path):
    networks.train(synthetic, tmp_path, 10, changes=QAT, deterministic=True)
    networks.train(synthetic, tmp_path, 20, changes=QAT, deterministic=True, resume=True)
    expected, resumed = (tf.train.load_checkpoint(f'{run}/train/model.ckpt-20')
                         for run in (trained, tmp_path))
    names = expected.get_variable_to_shape_map()
    assert 'conv1/activation_max' in names
    for name in names:
        np.testing.assert_array_equal(resumed.get_tensor(name), expected.get_tensor(name), name)


@pytest.mark.skipif(engines.installed() != 'tf2', reason='the converter is that of tf2')
@pytest.mark.parametrize('node', ['images', 'inputs'])
def test_the_converter_takes_the_ranges(node, graph, synthetic, tmp_path):
    """The int8 file computes what training simulated, without calibration."""
    from permafrost.export.conversion import tflite_converter
    ranges = fake_quant.ranges(graph)
    part = fake_quant.insert_ranges(network.extract(graph, node), ranges)
    (tmp_path / 'graph.pb').write_bytes(part.SerializeToString())
    path = str(tmp_path / 'file.tflite')
    tflite_converter.convert({'graph': str(tmp_path / 'graph.pb'), 'output': path, 'node': node,
                              'quantize': 'int8', 'calibration': None})
    images = some_images(synthetic, 32)
    simulated = fake_quant.insert_ranges(network.extract(graph, 'images'), ranges)
    fed, expected = logits_of(simulated, images, 'inputs'), logits_of(simulated, images)
    interpreter = tf.lite.Interpreter(path)
    interpreter.allocate_tensors()
    (source,), (target,) = interpreter.get_input_details(), interpreter.get_output_details()
    step, zero_point = source['quantization']
    logits = []
    for image, floats in zip(images, fed):
        value = image if node == 'images' else np.clip(
            np.round(floats / step) + zero_point, -128, 127).astype(np.int8)
        interpreter.set_tensor(source['index'], value[None])
        interpreter.invoke()
        logits.append(interpreter.get_tensor(target['index'])[0])
    step = np.ptp(ranges['predictions']) / 255
    if node == 'inputs':
        scale, zero_point = target['quantization']
        np.testing.assert_allclose(scale, step, rtol=1e-5)
        logits = (np.array(logits, np.float32) - zero_point) * scale
    assert np.abs(np.array(logits) - expected).max() < 3.5 * step
    kinds = {each['dtype'] for each in interpreter.get_tensor_details()
             if each['name'].endswith(('Relu', 'weights'))}
    assert kinds <= {np.int8}
