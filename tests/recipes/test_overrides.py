"""Overrides: what --set changes, what changes with it, and what is refused."""

import dataclasses
import json
import types

import pytest

from permafrost import engines
from permafrost.config import Config
from permafrost.errors import UsageError, UserError
from permafrost.recipes import catalog, durations, overrides
from permafrost.recipes.param_groups import ParamGroup, param_group_for
from permafrost.recipes.recipe import Recipe
from permafrost.recipes.schedules import Linear


def test_a_change_of_each_kind():
    recipe = overrides.get_recipe('tutorial', [
        'batch_size=7', 'learning_rate=1/8', 'optimizer=adam', 'augmentation=crop:2,flip',
        'schedule=linear 0:0 2:1', 'param_groups=beta learning_rate=3,fc freeze_epoch=1'])
    assert recipe == dataclasses.replace(
        catalog.RECIPES['tutorial'], batch_size=7, learning_rate=0.125, optimizer='adam',
        augmentation=('crop:2', 'flip'), schedule=Linear([0, 2], [0, 1]),
        param_groups=(ParamGroup('beta', learning_rate=3.), ParamGroup('fc', freeze_epoch=1.)))


@pytest.mark.parametrize('text', ['1000', '1e3', '0x3e8'])
def test_a_whole_number_may_have_an_exponent(text):
    recipe = overrides.get_recipe('tutorial', ['batch_size=' + text, 'train_images=1e6'])
    assert recipe.batch_size == 1000 and recipe.train_images == 1000000
    assert type(recipe.batch_size) is int


def test_names_may_be_separated_by_blanks():
    recipe = overrides.get_recipe('sprint', [
        'augmentation=crop , flip', 'spared_layers=first, last',
        'param_groups=a freeze_epoch=1 , b freeze_epoch=2'])
    assert recipe.augmentation == ('crop', 'flip') and recipe.spared_layers == ('first', 'last')
    assert recipe.param_groups == (
        ParamGroup('a', freeze_epoch=1), ParamGroup('b', freeze_epoch=2))


def test_what_differs_from_the_catalog_is_described():
    assert overrides.describe_changes(overrides.get_recipe('tutorial')) == 'tutorial'
    recipe = overrides.get_recipe('tutorial', ['learning_rate=1/8', 'augmentation='])
    assert overrides.describe_changes(recipe) == (
        'tutorial, augmentation=none (not crop,flip,brightness,contrast), '
        'learning_rate=0.125 (not 0.1)')
    recipe = overrides.get_recipe('davidnet', ['epochs=6'])  # without the schedule, which follows
    assert overrides.describe_changes(recipe) == 'davidnet, epochs=6 (not 12)'
    renamed = dataclasses.replace(recipe, name='of_another_version')
    assert overrides.describe_changes(renamed) == 'of_another_version'


def test_a_blank_name_in_a_list_is_none():
    assert overrides.get_recipe('sprint', ['param_groups=conv weight_decay=0, ']).param_groups == (
        ParamGroup('conv', weight_decay=0.),)
    assert overrides.get_recipe('sprint', ['augmentation=']).augmentation == ()


def test_earlier_names_of_fields_are_understood():
    assert overrides.get_recipe('tutorial', [
        'standardize=per_channel', 'images=512000', 'average_decay=0.5', 'average_every=2',
        'average_epochs=3', 'precision=bfloat16', 'rules=beta rate=2']) == overrides.get_recipe(
            'tutorial', [
                'normalize=per_channel', 'train_images=512000', 'ema_decay=0.5', 'ema_every=2',
                'ema_epochs=3', 'compute_dtype=bfloat16', 'param_groups=beta learning_rate=0.2'])


@pytest.mark.parametrize('mode, field', [
    ('coupled', 'weight_decay'), ('decoupled', 'decoupled_weight_decay'),
    ('layers', 'layer_weight_decay')])
def test_the_earlier_field_decay_mode_chooses_the_kind_of_decay(mode, field):
    none = {'weight_decay': 0., 'decoupled_weight_decay': 0., 'layer_weight_decay': 0.}
    recipe = overrides.get_recipe('cifarnet', ['decay_mode=' + mode])
    groups = [{} if mode == 'layers' else {field: decay} for decay in (5e-4, 0.)]
    assert recipe == dataclasses.replace(
        catalog.RECIPES['cifarnet'], **{**none, field: 0.1},
        param_groups=(ParamGroup('fc|logits', **groups[0]), ParamGroup('biases', **groups[1])))
    twice = overrides.get_recipe('cifarnet', ['weight_decay=0.2', 'decay_mode=' + mode])
    assert getattr(twice, field) == 0.2
    if mode != 'layers':
        assert getattr(twice.param_groups[0], field) == 1e-3


def test_groups_follow_the_learning_rate_and_the_decay_of_the_recipe():
    recipe = overrides.get_recipe('davidnet', ['learning_rate=0.24', 'weight_decay=1e-3'])
    assert recipe.param_groups == (
        ParamGroup('weights', weight_decay=0.), ParamGroup('gamma', learning_rate=1.2),
        ParamGroup('beta', learning_rate=10., weight_decay=1e-4),
        ParamGroup('fc/weights', learning_rate=0.3))
    kept = overrides.get_recipe('davidnet', ['learning_rate=1', 'param_groups=fc learning_rate=2'])
    assert kept.param_groups == (ParamGroup('fc', learning_rate=2.),)
    relative = overrides.get_recipe('davidnet', ['param_groups=fc rate=2', 'learning_rate=3'])
    assert relative.param_groups == (ParamGroup('fc', learning_rate=6.),)


@pytest.mark.parametrize('name', sorted(catalog.RECIPES))
def test_a_shorter_recipe_ends_its_schedule(name):
    def rates(changes):
        config = Config('tuto', overrides.get_recipe(name, changes), 1)
        steps = durations.num_epochs(config.recipe) * 50000 / config.recipe.batch_size
        return [float(durations.learning_rate_at(config, share * steps))
                for share in (0, .1, .5, .9, 1)]
    assert rates(['epochs=3']) == pytest.approx(rates([]))
    assert rates(['train_images=150000', 'epochs=0']) == pytest.approx(rates([]))


def test_everything_at_an_epoch_follows_the_length_unless_it_is_changed_too():
    short = overrides.get_recipe('sprint', ['epochs=4'])
    assert param_group_for(short, 'whiten/biases').freeze_epoch == 0.1
    assert param_group_for(short, 'conv1/weights').freeze_epoch == float('inf')
    assert overrides.get_recipe('davidnet_tricks', ['epochs=20']).ema_epochs == 4
    kept = overrides.get_recipe('davidnet_tricks', [
        'epochs=20', 'ema_epochs=1', 'param_groups=fc until=2', 'schedule=linear 0:1 9:0'])
    assert kept.ema_epochs == 1 and kept.schedule == Linear([0, 9], [1, 0])
    assert kept.param_groups == (ParamGroup('fc', freeze_epoch=2.),)


@pytest.mark.parametrize('name, change, message', [
    ('tutorail', 'epochs=1', 'did you mean tutorial'),
    ('sprint', 'epoch=1', 'did you mean epochs'), ('sprint', 'name=x', 'unknown recipe field'),
    ('sprint', 'description=x', 'unknown recipe field'), ('sprint', 'epochs', 'needs field=value'),
    ('sprint', 'batch_size=1.5', "'1.5' is not a whole number"),
    ('sprint', 'learning_rate=fast', "'fast' is not a number"),
    ('sprint', 'learning_rate=inf', "'inf' is not a number"),
    ('sprint', 'batch_size=0', 'batch_size must be a whole number from 1 to 100000, not 0'),
    ('sprint', 'learning_rate=-1', 'learning_rate must be a number from 0 to 1000000000, not -1'),
    ('sprint', 'momentum=1', 'momentum must be a number from 0 to below 1, not 1.0'),
    ('sprint', 'ema_decay=1.5', 'ema_decay must be a number from 0 to below 1, not 1.5'),
    ('sprint', 'compute_dtype=float16', 'did you mean bfloat16'),
    ('sprint', 'decay_mode=couple', 'did you mean coupled'),
    ('sprint', 'decoupled_weight_decay=0.1',
     r'sprint has two kinds of weight decay \(weight_decay=1, decoupled_weight_decay=0.1\)'),
    ('sprint', 'lr=0.1', "unknown recipe field 'lr'; did you mean learning_rate"),
    ('sprint', 'bs=8', 'did you mean batch_size'), ('sprint', 'wd=8', 'did you mean weight_decay'),
    ('sprint', 'Optimizer=adam', 'did you mean optimizer'),
    ('sprint', 'image-size=8', 'did you mean image_size'),
    ('tutorial', 'momentum=0.5', 'optimizer sgd has no momentum to set'),
    ('sprint', 'optimizer=adm', 'did you mean adam'),
    ('sprint', 'optimizer=adamw', 'use adam with decoupled_weight_decay'),
    ('tutorial', 'optimizer=sgd_momentum', 'use momentum'),
    ('sprint', 'normalize=per_chanel', 'did you mean per_channel'),
    ('sprint', 'augmentation=crap', 'did you mean crop'),
    ('lenet5', 'schedule=one_cycle 20', 'within the 20 epochs'),
    ('lenet5', 'schedule=one_cycle 0', "'one_cycle 0': its peak must be after epoch 0"),
    ('lenet5', 'schedule=linear 0:1 5:-1', 'must be 0 or more'),
    ('sprint', 'train_images=1000', '--epochs=... instead'),
    ('sprint', 'param_groups=a{1,2} learning_rate=0.1', 'a.1. sets nothing: .*comma'),
    ('sprint', 'epochs=0', 'needs a length in images')])
def test_a_wrong_change_is_refused_in_one_line(name, change, message):
    with pytest.raises(UsageError, match=message) as error:
        overrides.get_recipe(name, [change])
    assert '\n' not in str(error.value)


def test_synonyms_stand_for_fields():
    assert set(overrides.SYNONYMS.values()) <= set(overrides.FIELDS)
    assert not set(overrides.SYNONYMS) & set(overrides.FIELDS)
    assert overrides.field_meant('LR') == overrides.field_meant('learning-rate') == 'learning_rate'
    assert overrides.field_meant('colour') is None


@pytest.mark.parametrize('name, changes, expected', [
    ('tutorial', [], []), ('tutorial', ['learning_rate=1/8'], ['learning_rate=0.125']),
    ('sprint', ['epochs=5'], ['epochs=5']),  # the schedule and the groups follow
    ('davidnet', ['learning_rate=0.24', 'weight_decay=1e-3'],
     ['learning_rate=0.24', 'weight_decay=0.001']),
    ('sprint', ['epochs=5', 'schedule=constant'], ['epochs=5', 'schedule=constant']),
    ('tutorial', ['augmentation=crop:2,flip'], ['augmentation=crop:2,flip']),
    ('tutorial', ['augmentation='], ['augmentation=none']),
    ('sprint', ['epochs=0', 'train_images=9'], ['epochs=0', 'train_images=9'])])
def test_changes_are_as_few_as_make_the_recipe(name, changes, expected):
    recipe = overrides.get_recipe(name, changes)
    assert set(expected) <= set(overrides.differences(recipe))
    if 'schedule' not in str(changes):
        assert overrides.differences(recipe) == expected
    assert overrides.get_recipe(name, overrides.differences(recipe)) == recipe


@pytest.mark.parametrize('augmentation, message', [
    ('flip,flip', 'has flip twice'), ('cutout:0.5', 'use a whole number of pixels')])
def test_augmentations_without_a_right_effect_are_refused(augmentation, message):
    with pytest.raises(UsageError, match=message):
        overrides.get_recipe('tutorial', [f'augmentation={augmentation}'])


def test_a_recipe_of_another_catalog_has_no_changes():
    assert overrides.differences(dataclasses.replace(catalog.RECIPES['sprint'], name='other')) == []


def test_a_recipe_falls_back_to_float32_where_bfloat16_is_missing(monkeypatch, capsys):
    monkeypatch.setattr(engines, 'has_bfloat16', lambda engine: False)
    recipe = overrides.get_recipe('sprint')
    assert overrides.with_supported_precision(recipe) == dataclasses.replace(
        recipe, compute_dtype='float32')
    assert 'note: training in float32, because bfloat16 needs tf2' in capsys.readouterr().out
    recipe = overrides.get_recipe('tutorial')
    assert overrides.with_supported_precision(recipe) == recipe and not capsys.readouterr().out
    monkeypatch.setattr(engines, 'has_bfloat16', lambda engine: True)
    recipe = overrides.get_recipe('sprint')
    assert overrides.with_supported_precision(recipe) == recipe


def test_none_is_an_empty_list():
    recipe = overrides.get_recipe('sprint', ['augmentation=none', 'param_groups=none'])
    assert recipe.augmentation == recipe.param_groups == ()


def flag_values(**values):
    return types.SimpleNamespace(**dict({'model': 'tuto', 'recipe': None, 'set': []}, **values))


def test_a_flag_of_a_field_does_what_set_does():
    values = flag_values(recipe='sprint', epochs='5', set=['learning_rate=0.2'])
    assert overrides.recipe_from_flags(values) == overrides.get_recipe(
        'sprint', ['learning_rate=0.2', 'epochs=5'])
    with pytest.raises(UsageError, match='--epochs and --set epochs set the same field'):
        overrides.recipe_from_flags(flag_values(epochs='5', set=['epochs=4']))


def test_every_field_has_a_flag_with_a_text():
    assert {field.name for field in overrides.FLAG_FIELDS} == set(overrides.FIELDS) - {'decay_mode'}


@pytest.fixture
def write(tmp_path):
    def write_json(value, name='mine.json'):
        (tmp_path / name).write_text(json.dumps(value))
        return str(tmp_path / name)
    return write_json


def test_a_recipe_file_changes_the_recipe_that_it_names(write):
    path = write({'name': 'sprint', 'epochs': 5, 'augmentation': ['flip']})
    assert overrides.get_recipe(path, ['learning_rate=0.2']) == overrides.get_recipe(
        'sprint', ['epochs=5', 'augmentation=flip', 'learning_rate=0.2'])


def test_a_recipe_file_may_have_earlier_names_of_fields(write):
    path = write({'name': 'tutorial', 'average_decay': .5, 'images': 128, 'rules': ['fc rate=2']})
    assert overrides.get_recipe(path) == overrides.get_recipe('tutorial', [
        'ema_decay=0.5', 'train_images=128', 'param_groups=fc learning_rate=0.2'])


def test_a_recipe_file_may_have_a_name_of_its_own(write):
    values = flag_values(recipe=write({'name': 'mine', 'weight_decay': 5e-4, 'epochs': 3}),
                         learning_rate='0.2')
    recipe = overrides.recipe_from_flags(values)
    assert (recipe.name, recipe.weight_decay, recipe.layer_weight_decay) == ('mine', 5e-4, 0.)
    assert overrides.describe_changes(recipe, overrides.base_from_flags(values)) == (
        'mine, learning_rate=0.2 (not 0.1)')
    assert overrides.find_recipe(write({'epochs': 3})).name == 'custom'


@pytest.mark.parametrize('name', sorted(catalog.RECIPES))
def test_a_recipe_file_may_have_all_fields(write, name):
    assert overrides.find_recipe(write(catalog.RECIPES[name].to_json())) == catalog.RECIPES[name]


@pytest.mark.parametrize('wrap', [lambda recipe: {'config': {'recipe': recipe}, 'classes': []},
                                  lambda recipe: {'settings': recipe}, lambda recipe: recipe])
def test_the_recipe_of_a_run_a_result_and_a_file_is_the_same(write, tmp_path, wrap):
    recipe = overrides.get_recipe('davidnet', ['epochs=6', 'learning_rate=0.2'])
    path = write(wrap(recipe.to_json()), 'config.json')
    assert overrides.get_recipe(path) == recipe
    assert overrides.get_recipe(str(tmp_path)) == recipe


@pytest.mark.parametrize('value, message', [
    ({'learning_rate': -1}, 'is not a valid recipe .learning_rate must be a number from 0'),
    ({'lr': 1}, "unknown recipe field 'lr'; did you mean learning_rate"),
    ({'learing_rate': 1}, "unknown recipe field 'learing_rate'; did you mean learning_rate"),
    ({'name': ['a']}, 'name must be text'), ({'name': '../x'}, 'name must be a plain name'),
    ({'config': []}, 'config must be an object'), ({'config': {}}, 'config.recipe must be'),
    ({'settings': {'name': 'a', 'epochs': 'x'}}, 'settings.epochs must be a number'),
    ({'optimizer': ['adam']}, 'optimizer must be text'),
    ({'decay_mode': {}}, 'decay_mode must be text'),
    ([], 'must be an object')])
def test_a_damaged_recipe_file_is_one_line(write, value, message):
    with pytest.raises(UserError, match=message) as error:
        overrides.get_recipe(write(value))
    assert '\n' not in str(error.value)


def test_a_missing_recipe_file_is_one_line(tmp_path):
    with pytest.raises(UserError, match='cannot read .*No such file'):
        overrides.get_recipe(str(tmp_path / 'no.json'))


def test_a_longer_training_is_pruned_longer():
    recipe = overrides.get_recipe('lenet5', ['sparsity=0.8', 'prune_start_epoch=2',
                                             'prune_epochs=6', 'spared_layers=conv1,last'])
    longer = overrides.with_changes(recipe, ['epochs=40'])
    assert (longer.prune_start_epoch, longer.prune_epochs) == (4, 12)
    assert longer.spared_layers == ('conv1', 'last')
    assert overrides.with_changes(recipe, ['epochs=40', 'prune_epochs=6']).prune_epochs == 6
    to_the_end = overrides.get_recipe('lenet5', [
        'epochs=10', 'sparsity=0.8', 'prune_start_epoch=1', 'prune_epochs=9'])
    longer_to_the_end = overrides.with_changes(to_the_end, ['epochs=13'])  # 1.3 + 11.7000...01
    assert longer_to_the_end.prune_start_epoch == pytest.approx(1.3)
    assert overrides.differences(recipe) == [
        'sparsity=0.8', 'prune_start_epoch=2', 'prune_epochs=6', 'spared_layers=conv1,last']
    assert Recipe.from_json(longer.to_json()) == longer
