"""The variants of a study: one at a time, grids, random draws, ranges."""

import pytest

from permafrost.errors import UsageError
from permafrost.experiments.sweeps import variants
from permafrost.experiments.sweeps.study import Study
from permafrost.experiments.sweeps.variants import parse_range


def settings(study):
    return [each.settings for each in variants.variants_of(study.check())]


def test_one_at_a_time_is_the_baseline_and_each_change_alone():
    study = Study(vary={'learning_rate': ('0.05', '0.2'), 'augmentation': ('none',)},
                  variants={'small': {'momentum': 0.5, 'optimizer': 'momentum'}})
    assert settings(study) == [
        {}, {'learning_rate': '0.05'}, {'learning_rate': '0.2'}, {'augmentation': 'none'},
        {'momentum': '0.5', 'optimizer': 'momentum'}]
    assert [each.name for each in variants.variants_of(study.check())] == [
        'baseline', 'learning_rate=0.05', 'learning_rate=0.2', 'augmentation=none', 'small']


def test_a_grid_is_all_combinations():
    study = Study(vary={'learning_rate': ('1', '2'), 'ema_decay': ('0', '0.9')}, method='grid')
    assert settings(study) == [{'learning_rate': a, 'ema_decay': b} for a in '12'
                               for b in ('0', '0.9')]
    wide = {name: tuple(map(str, range(200))) for name in ('learning_rate', 'weight_decay')}
    with pytest.raises(UsageError, match='40000 variants'):
        variants.variants_of(Study(vary=wide, method='grid'))


def test_another_model_keeps_the_recipe_of_the_baseline():
    """Or else two things would change: squeeze1 trains with another recipe by default."""
    vary = {'model': ('squeeze1', 'tuto')}
    assert settings(Study(vary=vary))[1:] == [{'model': 'squeeze1', 'recipe': 'tutorial'},
                                              {'model': 'tuto'}]
    assert settings(Study(base={'recipe': 'plain'}, vary=vary))[1] == {'model': 'squeeze1'}
    both = {'both': {'model': 'squeeze1', 'recipe': 'squeeze'}}
    assert settings(Study(variants=both))[1] == both['both']


def test_random_draws_are_different_the_same_each_time_and_extended(capsys):
    vary = {'learning_rate': ('log:0.001..1',), 'optimizer': ('sgd', 'adam')}
    few, more = (settings(Study(vary=vary, method='random', count=n)) for n in (20, 40))
    assert more[:20] == few and len({str(each) for each in more}) == 40
    rates = [float(each['learning_rate']) for each in more]
    assert all(0.001 <= rate <= 1 for rate in rates)
    assert 8 < sum(rate < 0.0316 for rate in rates) < 32  # half of a log scale
    assert {each['optimizer'] for each in more} == {'sgd', 'adam'}
    one = Study(vary={'optimizer': ('sgd', 'adam')}, method='random', count=9999)
    assert sorted(each['optimizer'] for each in settings(one)) == ['adam', 'sgd']
    assert 'only 2 of 9999 combinations' in capsys.readouterr().out


def test_ranges():
    assert parse_range('learning_rate', '0.05') is parse_range('dataset', '../images') is None
    half = parse_range('momentum', '0.5..0.9')
    assert [half.at(0), half.at(0.5), half.at(1)] == ['0.5', '0.7', '0.9']
    log = parse_range('weight_decay', 'log:1e-5..1e-3')
    assert [log.at(0), log.at(0.5)] == ['1e-05', '0.0001']
    assert parse_range('batch_size', 'log:32..512').at(0.5) == '128'
    whole = parse_range('patience', '1..3')
    shares = [whole.at(share / 12) for share in range(12)]
    assert shares == 4 * ['1'] + 4 * ['2'] + 4 * ['3'] and whole.at(1) == '3'
    assert parse_range('eval_epochs', '0.5..2').at(0.5) == '1.25'
    assert parse_range('ema_decay', '0.999..0.99999').at(0.99) == '0.9999801'  # four digits: 1
    for wrong in ('2..1', 'log:0..1', 'log:-1..1'):
        with pytest.raises(UsageError, match='LOW..HIGH'):
            parse_range('learning_rate', wrong)
    with pytest.raises(UsageError, match='--random or --search'):
        variants.variants_of(Study(vary={'learning_rate': ('0.1..1',)}))
