"""Rows of a comparison: seeds together, what differs, names, the baseline."""

import dataclasses

import pytest

from permafrost import files
from permafrost.errors import UsageError
from permafrost.experiments.comparison.entries import Entry
from permafrost.experiments.comparison.grouping import group

SETTINGS = {'model': 'tuto', 'recipe': 'tutorial', 'dataset': 'cifar10', 'learning_rate': '0.1',
            'momentum': '0.9', 'engine': 'tf2'}


def entry(path, seed=1, variant='', changed=(), **settings):
    settings = dict(SETTINGS, **settings)
    return Entry(path, variant, settings['model'], seed, settings, tuple(changed), 24, 10, 'tf2')


def rows_of(*entries, **options):
    return [(each.name, [e.path for e in each.entries], each.settings)
            for each in group(entries, **options)]


def test_runs_that_differ_in_their_seed_alone_are_a_row():
    fast = dict(changed=['learning_rate'], learning_rate='0.2')
    assert rows_of(entry('a', 2), entry('b', 1, **fast), entry('c', 1)) == [
        ('tuto learning_rate=0.1', ['c', 'a'], {'learning_rate': '0.1'}),
        ('tuto learning_rate=0.2', ['b'], {'learning_rate': '0.2'})]


def test_a_second_run_of_a_seed_is_no_other_sample():
    assert rows_of(entry('a'), entry('b'), entry('c', 2)) == [
        ('tuto', ['a', 'c'], {}), ('tuto (2)', ['b'], {})]


def test_each_run_has_a_row_of_its_own_if_asked():
    assert rows_of(entry('a', 1), entry('b', 2), by_run=True) == [
        ('tuto seed=1', ['a'], {'seed': '1'}), ('tuto seed=2', ['b'], {'seed': '2'})]


def test_only_settings_that_differ_and_that_a_run_changed_are_shown():
    """The recipes of two models differ in many fields; their name says so."""
    other = dict(model='resnet20', recipe='resnet', momentum='0.8')
    assert [settings for _, _, settings in rows_of(entry('a'), entry('b', **other))] == [
        {'model': 'tuto', 'recipe': 'tutorial'}, {'model': 'resnet20', 'recipe': 'resnet'}]
    rows = rows_of(entry('a'), entry('b', **other, changed=['learning_rate'], learning_rate='1'))
    assert rows[0] == ('tuto', ['a'], {'model': 'tuto', 'recipe': 'tutorial',
                                       'learning_rate': '0.1'})
    both = dict(changed=['momentum'], momentum='0.5')
    assert rows_of(entry('a', **both), entry('b', 2, **both))[0][2] == {}


def test_another_engine_is_a_difference():
    assert rows_of(entry('a'), entry('b', 2, engine='tf1'))[1] == (
        'tuto engine=tf1', ['b'], {'engine': 'tf1'})


def test_a_studys_variants_keep_their_names_and_its_baseline_is_the_first():
    study = [entry('s/runs/lr/seed1', variant='lr', changed=['learning_rate'], learning_rate='1'),
             entry('s/runs/baseline/seed1', variant='baseline')]
    assert [name for name, _, _ in rows_of(*study)] == ['baseline', 'lr']
    assert [name for name, _, _ in rows_of(*study, baseline='lr')] == ['lr', 'baseline']


@pytest.mark.parametrize('baseline', ['b', 'b/', './b', 'tuto learning_rate=0.2'])
def test_the_baseline_is_chosen_by_run_or_name(baseline):
    rows = rows_of(entry('a'), entry('b', changed=['learning_rate'], learning_rate='0.2'),
                   baseline=baseline)
    assert [paths for _, paths, _ in rows] == [['b'], ['a']]


def test_an_unknown_baseline_is_refused():
    with pytest.raises(UsageError, match=r"no row 'x\\n'.*choose from: tuto"):
        group([entry('a')], baseline='x\n')


def test_groups_hold_entries_unchanged():
    one = dataclasses.replace(entry('a'), accuracy=0.5)
    assert group([one])[0].entries == (one,)


def test_a_failed_first_try_does_not_displace_the_finished_run():
    failed = dataclasses.replace(entry('failed', 2), state='failed')
    rows = group([entry('a', 3), failed, entry('b', 2), entry('c', 4)])
    assert [(row.name, [each.path for each in row.entries]) for row in rows] == [
        ('tuto', ['b', 'a', 'c']), ('tuto (2)', ['failed'])]


def test_the_default_baseline_has_an_accuracy():
    without = dataclasses.replace(entry('a'), accuracy=0.5, state='running')
    with_one, other = (dataclasses.replace(
        entry(name, changed=['learning_rate'], learning_rate=rate), accuracy=0.5)
        for name, rate in (('b', '1'), ('c', '2')))
    rows = group([without, with_one, other])
    assert [row.entries[0].path for row in rows] == ['b', 'a', 'c']
    base = dataclasses.replace(other, variant='baseline')
    assert group([without, with_one, base])[0].entries == (base,)


def test_weights_are_shown_where_results_differ_in_them():
    rows = rows_of(entry('a', weights='averaged'), entry('b', changed=['weights'], weights='raw'))
    assert [settings for _, _, settings in rows] == [{'weights': 'averaged'}, {'weights': 'raw'}]


@pytest.mark.parametrize('baseline', ['init_from=a/b', files.safe_name('init_from=a/b')])
def test_the_baseline_may_have_the_name_of_its_folder(baseline):
    """The variant of a run is the name of its folder."""
    one = entry('x', variant=files.safe_name('init_from=a/b'), changed=['momentum'], momentum='1')
    assert group([entry('y'), one], baseline=baseline)[0].entries == (one,)
    plain = entry('z', variant='init_from=a/b', changed=['momentum'], momentum='1')
    assert group([entry('y'), plain], baseline=baseline)[0].entries == (plain,)
