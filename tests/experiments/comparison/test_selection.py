"""Arguments of compare.py: runs, studies, folders, results and patterns."""

import os
import shutil

import pytest

from permafrost import files
from permafrost.errors import UserError
from permafrost.experiments.comparison import selection
from tests.processes import ROOT


def names(folder, *arguments):
    selected, notes = selection.select([str(folder / each) for each in arguments])
    return [os.path.relpath(each.path, str(folder)) for each in selected], notes


def test_a_study_gives_its_runs_with_their_variants(folder):
    selected, notes = selection.select([str(folder / 'study')])
    assert [each.variant for each in selected] == [
        'baseline', 'baseline', 'learning_rate=0.01', 'learning_rate=0.01', 'momentum=2']
    assert not notes


def test_a_folder_gives_the_runs_of_the_studies_in_it(folder):
    found, _ = names(folder, '.')
    assert found == names(folder, 'study')[0] and len(found) == 5


def test_a_run_of_a_study_keeps_its_variant(folder):
    (run,), _ = selection.select([str(folder / 'study/runs/baseline/seed2')])
    assert run.variant == 'baseline'
    (run,), _ = selection.select([str(folder / 'runs/tiny/killed')])
    assert run.variant == ''


def write_study(folder, base, **variants):
    files.write_json(str(folder / 'study/study.json'), {'base': base, 'variants': variants})


def test_an_export_that_repeats_the_base_is_one_of_its_runs(folder):
    write_study(folder, {'model': 'lenet5', 'sparsity': '0.80'},
                int8={'sparsity': 0.8, 'export': 'int8.tflite'})
    for argument in ('study', '.'):
        selected, notes = selection.select([str(folder / argument)])
        assert [(each.variant, each.export) for each in selected[:4]] == [
            ('baseline', ''), ('int8', 'int8.tflite')] * 2
        assert not notes


def test_an_export_without_a_run_is_a_note(folder):
    write_study(folder, {}, pruned={'sparsity': 0.8, 'export': 'onnx'}, dense={'sparsity': 0.5})
    for argument in ('study', 'study/', '.'):
        note, = selection.select([str(folder / argument), str(folder / 'study')])[1]
        assert note.startswith(f'{folder}/study: pruned has no run to export: sweep the study, or')
    assert not selection.select([str(folder / 'study/runs/baseline/seed1')])[1]


def test_another_study_does_not_hide_an_export_without_a_run(folder, tmp_path):
    shutil.copytree(str(folder / 'study'), str(tmp_path / 'all/other'))
    shutil.copytree(str(folder / 'study'), str(tmp_path / 'all/study'))
    for name, sparsity in (('study', .8), ('other', .5)):
        files.write_json(str(tmp_path / 'all' / name / 'study.json'), {
            'base': {'model': 'lenet5', 'sparsity': .8},
            'variants': {'int8': {'sparsity': sparsity, 'export': 'int8.tflite'}}})
    note, = selection.select([str(tmp_path / 'all')])[1]
    assert note.startswith(f'{tmp_path}/all/other: int8 has no run to export')


def test_patterns_and_folders_name_runs_once(folder):
    expected = ['runs/tiny/foreign', 'runs/tiny/killed']
    assert names(folder, 'runs/tiny/[fk]*')[0] == expected
    assert names(folder, 'runs/tiny/killed/', 'runs/tiny/killed', 'runs/tiny')[0][0] == expected[1]
    assert len(names(folder, 'runs', 'runs/*', 'runs/tiny/*')[0]) == 3


def test_runs_are_sorted_by_number():
    assert sorted(['runs/x1²', 'runs/x1'], key=selection.natural) == ['runs/x1', 'runs/x1²']
    assert sorted(['runs/tuto/10', 'runs/tuto/9', 'runs/alex2/1'], key=selection.natural) == [
        'runs/alex2/1', 'runs/tuto/9', 'runs/tuto/10']


def test_decimal_numbers_are_sorted_by_size():
    names = [f'learning_rate={rate}' for rate in ('0.2', '0.05', '1', '0.125')]
    assert sorted(names, key=selection.natural) == [names[1], names[3], names[0], names[2]]


def test_a_run_that_was_moved_away_is_not_compared(folder):
    before = names(folder, 'study')[0]
    runs_of_baseline = folder / 'study' / 'runs' / 'baseline'
    shutil.copytree(str(runs_of_baseline / 'seed1'), str(runs_of_baseline / 'seed1.old'))
    assert names(folder, 'study')[0] == names(folder, '.')[0] == before


def test_results_are_told_from_other_files():
    folder = os.path.join(ROOT, 'results')
    selected, notes = selection.select([folder])
    assert selected and all(each.is_result for each in selected) and not notes
    assert not any('benchmark' in each.path for each in selected)


def test_what_is_nothing_is_a_note_or_an_error(folder):
    found, notes = names(folder, 'none\n', 'empty', 'runs/tiny/killed')
    assert found == ['runs/tiny/killed'] and len(notes) == 2 and '\n' not in ''.join(notes)
    with pytest.raises(UserError, match='no run, study or result'):
        names(folder, 'empty')
