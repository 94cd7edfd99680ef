"""The choice of what is pruned next, against the published rules."""

import numpy as np
import pytest

from permafrost.training.compression import pruning_methods


def test_the_weights_nearest_to_zero_go_and_stay_away():
    values = {'a': np.array([[3., -1.], [.5, -2.]]), 'b': np.array([1., 1., 1., 1.])}
    method = pruning_methods.LayerMagnitude({name: value.shape for name, value in values.items()})
    before = {name: np.ones(value.shape, np.float32) for name, value in values.items()}
    half = method.compute_masks(values, before, .5)
    np.testing.assert_array_equal(half['a'], [[1, 0], [0, 1]])
    np.testing.assert_array_equal(half['b'], [0, 0, 1, 1])  # of equal ones, the first
    grown = {'a': np.array([[3., -9.], [9., -2.]]), 'b': values['b']}
    np.testing.assert_array_equal(method.compute_masks(grown, half, .75)['a'], [[1, 0], [0, 0]])


@pytest.mark.parametrize('sparsity', [.1, .5, .8, .99])
def test_the_share_of_zeros_is_that_of_each_layer(sparsity):
    values = {'a': np.random.RandomState(1).randn(3, 3, 8, 16), 'b': np.zeros((40, 10))}
    method = pruning_methods.LayerMagnitude({name: value.shape for name, value in values.items()})
    masks = method.compute_masks(values, {n: np.ones(v.shape) for n, v in values.items()}, sparsity)
    for name, mask in masks.items():
        assert np.sum(mask == 0) == round(sparsity * values[name].size)
    kept = np.abs(values['a'][masks['a'] > 0])
    assert kept.min() >= np.abs(values['a'][masks['a'] == 0]).max()


def test_global_scores_are_squares_over_what_is_at_least_as_large():
    """LAMP (Lee et al. 2021, equation 3): a layer is not emptied because its weights are small."""
    values = {'a': np.array([[3., -1.], [2., 0.]]), 'b': np.array([.01, -.02])}
    method = pruning_methods.Lamp({name: value.shape for name, value in values.items()})
    ones = {name: np.ones(value.shape, np.float32) for name, value in values.items()}
    # a: 9/9, 1/14, 4/13, 0; b: 1/5, 4/4
    kept = {count: method.compute_masks(values, ones, count / 6) for count in range(1, 5)}
    np.testing.assert_array_equal(kept[1]['a'], [[1, 1], [1, 0]])
    np.testing.assert_array_equal(kept[2]['a'], [[1, 0], [1, 0]])
    np.testing.assert_array_equal(kept[2]['b'], [1, 1])
    np.testing.assert_array_equal(kept[3]['b'], [0, 1])
    np.testing.assert_array_equal(kept[4]['a'], [[1, 0], [0, 0]])


def test_what_is_zero_in_all_layers_together_stays_zero():
    values = {'a': np.arange(1., 5.), 'b': np.arange(1., 5.)}
    method = pruning_methods.Lamp({name: value.shape for name, value in values.items()})
    before = {'a': np.array([1, 1, 0, 0], np.float32), 'b': np.ones(4, np.float32)}
    masks = method.compute_masks(values, before, .5)
    assert [int(np.sum(mask)) for mask in masks.values()] == [2, 2]
    np.testing.assert_array_equal(masks['a'], [1, 1, 0, 0])


@pytest.mark.parametrize('count, sparsity, kept', [
    (64, .3, 48), (64, .5, 32), (32, .3, 16), (128, .3, 96), (16, .5, 8), (16, .1, 16),
    (24, .5, 16), (10, .5, 5), (10, .99, 1), (512, .999, 16)])
def test_a_multiple_of_sixteen_or_eight_filters_stays(count, sparsity, kept):
    assert pruning_methods.filters_to_keep(count, sparsity) == kept


def _filters(makers, gammas=(), readers=('r',)):
    """Return the method for one layer of four filters, 0 to 3, that several variables make."""
    numbers = np.arange(4)
    return pruning_methods.StructuredFilters(
        {name: (1, 1, 1, 4) for name in makers}, [list(numbers)], dict.fromkeys(makers, numbers),
        dict.fromkeys(readers, numbers), dict.fromkeys(gammas, numbers), final=.5)


def _read(*magnitudes):
    """Return weights [3, 3, 4, 2] that read four channels."""
    return np.ones((3, 3, 1, 2)) * np.array(magnitudes)[:, np.newaxis]


ONES = np.ones((1, 1, 1, 4), np.float32)


def test_filters_that_are_summed_count_once():
    method = _filters(['a', 'b'])
    masks = method.compute_masks({'r': _read(9, 2, 3, 4)}, {'a': ONES, 'b': ONES}, .25)
    assert method.count_zeros(masks) == (1, 4)


def test_zeros_are_counted_in_the_masks():
    masks = {'a': np.array([[1, 0], [0, 0]]), 'b': np.ones(3)}
    method = pruning_methods.LayerMagnitude({name: mask.shape for name, mask in masks.items()})
    assert method.count_zeros(masks) == (3, 7)


def test_a_share_that_is_rounded_away_removes_none():
    method = _filters(['w'])
    assert not method.removes_none
    method.final = .1  # of four filters
    assert method.removes_none


def test_filters_whose_channels_are_read_least_go_one_after_the_other():
    method = _filters(['w'])
    first = method.compute_masks({'r': _read(-4, 1, 3, 2)}, {'w': ONES}, .25)
    np.testing.assert_array_equal(np.ravel(first['w']), [1, 0, 1, 1])
    grown = {'r': _read(-4, 9, 3, 2)}  # what is gone does not come back
    second = method.compute_masks(grown, first, .5)
    np.testing.assert_array_equal(np.ravel(second['w']), [1, 0, 1, 0])


def test_all_that_read_a_channel_count():
    """Also a matrix product, which reads each channel at several positions."""
    method = _filters(['w'], readers=('r', 'product'))
    method.weights['product'] = np.tile(np.arange(4), 2)
    masks = method.compute_masks({'r': _read(1, 2, 3, 4) / 18, 'product': np.array(
        [[9.], [.5], [0.], [0.], [9.], [.5], [0.], [0.]])}, {'w': ONES}, .5)
    # 1 + 18, 2 + 1, 3 and 4
    np.testing.assert_array_equal(np.ravel(masks['w']), [1, 0, 0, 1])


def test_filters_that_are_summed_go_together():
    masks = _filters(['a', 'b']).compute_masks({'r': _read(9, 2, 3, 4)}, {'a': ONES, 'b': ONES}, .5)
    for mask in masks.values():
        np.testing.assert_array_equal(np.ravel(mask), [1, 0, 0, 1])


def test_the_scale_of_a_batch_normalization_decides():
    masks = _filters(['w'], ['gamma']).compute_masks(
        {'r': _read(1, 2, 3, 4), 'gamma': np.array([-5., .1, 2., .2])}, {'w': ONES}, .5)
    np.testing.assert_array_equal(np.ravel(masks['w']), [1, 0, 1, 0])
