"""Config: json both ways, and what a resumed run may change."""

import dataclasses
import json

import pytest

from permafrost import config
from permafrost.config import Config
from permafrost.errors import UsageError
from permafrost.recipes import catalog, overrides


@pytest.fixture(params=sorted(catalog.RECIPES))
def run_config(request):
    return Config('tuto', catalog.RECIPES[request.param], 10, statistics=(1.5, 2.5))


def test_json_and_back_is_the_same(run_config):
    assert Config.from_json(json.loads(json.dumps(run_config.to_json()))) == run_config


def test_a_config_that_says_data_set_is_read(run_config):
    value = run_config.to_json()
    value['data_set'] = value.pop('dataset')
    assert Config.from_json(value) == run_config


def test_fields_added_later_take_their_defaults(run_config):
    value = run_config.to_json()
    del value['log_steps']
    assert Config.from_json(value) == run_config


@pytest.mark.parametrize('name', config.RESUMABLE)
def test_a_resumed_run_may_change_how_it_is_run(run_config, name):
    changed = config.merged_for_resume(run_config, run_config.recipe, {name: 7})
    assert changed == dataclasses.replace(run_config, **{name: 7})


@pytest.mark.parametrize('name, value', [('seed', 2), ('model', 'alex2'), ('source', 'stream'),
                                         ('deterministic', True), ('dataset', 'cifar100')])
def test_a_resumed_run_may_not_change_what_is_trained(run_config, name, value):
    with pytest.raises(UsageError) as error:
        config.merged_for_resume(run_config, run_config.recipe, {name: value})
    assert f'--{name}' in str(error.value) and '\n' not in str(error.value)
    same = {name: getattr(run_config, name)}
    assert config.merged_for_resume(run_config, run_config.recipe, same) == run_config


def test_a_resumed_run_keeps_its_recipe(run_config):
    other = dataclasses.replace(run_config.recipe, batch_size=7)
    size = run_config.recipe.batch_size
    with pytest.raises(UsageError, match=fr'a different recipe \(batch_size is {size}, not 7\)'):
        config.merged_for_resume(run_config, other, {})


def test_a_resumed_run_may_change_its_precision(run_config):
    dtype = 'float32' if run_config.recipe.compute_dtype == 'bfloat16' else 'bfloat16'
    recipe = dataclasses.replace(run_config.recipe, compute_dtype=dtype)
    assert config.merged_for_resume(run_config, recipe, {}) == dataclasses.replace(
        run_config, recipe=recipe)


def test_the_precision_of_earlier_steps_is_remembered():
    def of_dtype(dtype):
        return Config('tuto', overrides.get_recipe('tutorial', [f'compute_dtype={dtype}']), 10)
    one, other = of_dtype('bfloat16'), of_dtype('float32')
    after = config.with_earlier_compute_dtype(other, one, 4)
    assert after == dataclasses.replace(other, earlier_compute_dtype='bfloat16 to step 4')
    back = dataclasses.replace(after, recipe=one.recipe)
    assert config.with_earlier_compute_dtype(back, after, 6).earlier_compute_dtype == (
        'bfloat16 to step 4, float32 to step 6')
    # A run that has no step yet, does not change, or is done.
    assert config.with_earlier_compute_dtype(other, one, 0) == other
    assert config.with_earlier_compute_dtype(after, after, 6) == after
    assert config.with_earlier_compute_dtype(other, one, 10) == one
