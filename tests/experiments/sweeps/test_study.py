"""study.json: from flags, from a template, edited by hand, damaged."""

import json
import os

import pytest
from absl import flags

from permafrost.errors import UsageError, UserError
from permafrost.experiments.sweeps import study
from tests.experiments.sweeps import helpers
from tests.processes import ROOT


def from_flags(folder, *arguments):
    with helpers.sweep_flags(*arguments) as values:
        return study.from_flags(values, str(folder))


def test_flags_make_a_study(tmp_path):
    made = from_flags(tmp_path, '--model=alex2', '--set=ema_decay=0', '--learning_rate=0.2',
                    '--deterministic', '--vary=learning_rate=0.05,0.1',
                    '--vary=augmentation=none|crop,flip|', '--seeds=2')
    assert made == study.Study(
        base={'validation': '5000', 'model': 'alex2', 'ema_decay': '0', 'learning_rate': '0.2',
              'deterministic': 'true'},
        vary={'learning_rate': ('0.05', '0.1'), 'augmentation': ('none', 'crop,flip')},
        seeds=(1, 2))
    study.write(str(tmp_path), made)
    assert study.read(study.path_of(str(tmp_path))) == made


def test_flags_change_the_study_that_is_there(tmp_path):
    study.write(str(tmp_path), from_flags(tmp_path, '--vary=learning_rate=1,2', '--epochs=3'))
    assert from_flags(tmp_path) == study.read(study.path_of(str(tmp_path)))
    changed = from_flags(tmp_path, '--grid', '--vary=momentum=0.5', '--validation=0', '--seeds=3')
    assert changed.base == {'validation': '0', 'epochs': '3'} and changed.method == 'grid'
    assert list(changed.vary) == ['learning_rate', 'momentum'] and changed.seeds == (1, 2, 3)
    with pytest.raises(UsageError, match='study.json exists'):
        from_flags(tmp_path, '--template=studies/tutorial.json')


def test_the_command_of_a_template_may_be_repeated(tmp_path):
    flags_ = ['--template=' + os.path.join(ROOT, 'studies', 'tutorial.json'), '--seeds=2']
    study.write(str(tmp_path), from_flags(tmp_path, *flags_))
    assert from_flags(tmp_path, *flags_) == study.read(study.path_of(str(tmp_path)))
    with pytest.raises(UsageError, match='study.json exists, and is another study'):
        from_flags(tmp_path, *flags_, '--seeds=3')


def test_a_file_may_have_numbers_lists_and_truth_values(tmp_path):
    (tmp_path / 'study.json').write_text(json.dumps({
        'base': {'epochs': 3, 'deterministic': True}, 'vary': {'learning_rate': [0.05, 1e-05]},
        'variants': {'plain': {'augmentation': ['crop', 'flip'], 'ema_decay': 0}}}))
    made = study.read(str(tmp_path / 'study.json'))
    assert made.base == {'epochs': '3', 'deterministic': 'true'}
    assert made.vary == {'learning_rate': ('0.05', '1e-05')}
    assert made.variants == {'plain': {'augmentation': 'crop,flip', 'ema_decay': '0'}}


@pytest.mark.parametrize('value, reason', [
    ({'vary': {'lr': [1]}}, "unknown setting 'lr'; did you mean learning_rate"),
    ({'base': {'modle': 'tuto'}}, 'did you mean model'),
    ({'base': {'run': 'x'}}, 'the runs are in STUDY/runs'),
    ({'base': {'model': {}}}, 'a setting must be text'),
    ({'variants': {'../../x': {}}}, 'needs another name'),
    ({'variants': {'baseline': {}}}, 'needs another name'),
    ({'seeds': [1, 1]}, 'twice'), ({'seeds': [-1]}, 'seeds'), ({'seeds': []}, 'seeds'),
    ({'vary': {'momentum': []}}, 'vary.momentum has no values'), ({'method': 'all'}, 'method'),
    ({'method': 'random', 'count': 3}, 'at least one --vary'),
    ({'method': 'search', 'vary': {'momentum': [0.5]}}, 'at least 1'),
    ({'colour': 1}, 'a field that this version does not know'), ([], 'an object')])
def test_a_wrong_file_is_one_line(tmp_path, value, reason):
    path = tmp_path / 'study.json'
    path.write_text(json.dumps(value))
    with pytest.raises(UserError) as error:
        study.read(str(path))
    assert reason in str(error.value) and str(path) in str(error.value)
    assert '\n' not in str(error.value)


@pytest.mark.parametrize('arguments, reason', [
    (['--vary=learning_rate'], 'SETTING=VALUE'), (['--vary=momentum='], 'SETTING=VALUE'),
    (['--vary=momentum=0.1', '--vary=momentum=0.2'], 'twice'), (['--seed=3'], '--seeds'),
    (['--run=x'], 'STUDY/runs'), (['--resume'], 'always continues'), (['--set=x'], 'field=value'),
    (['--set=momentum=0.5', '--momentum=0.9'], '--momentum and --set momentum set the same field'),
    (['--random=3'], 'at least one --vary'),
    (['--vary=momentum=0.1', '--random=3', '--search=3'],
     '^--random and --search choose the runs in different ways: give one of them$'),
    (['--vary=momentum=0.1', '--search=3', '--grid', '--random=3'],
     '^--grid, --random and --search choose'),
    (['--vary=momentum=0.1', '--storage=sqlite:///x.db'],
     'is the database of a search: add --search N, or leave it out'),
    (['--vary=momentum=0.1', '--grid', '--storage=sqlite:///x.db'], 'add --search N')])
def test_wrong_flags_are_one_line(tmp_path, arguments, reason):
    with pytest.raises(UsageError, match=reason):
        from_flags(tmp_path, *arguments)


@pytest.mark.parametrize('name', ['seeds', 'random', 'search'])
def test_flags_have_the_limits_of_the_file(tmp_path, name):
    with pytest.raises(flags.Error, match='no more than|less than or equal|range'):
        from_flags(tmp_path, f'--{name}=1000000')


def test_a_mistyped_name_begins_no_study(tmp_path):
    for arguments in ([], ['--dry_run'], ['--parallel=2']):
        with pytest.raises(UsageError, match='no study in .*typo: to begin one, say what to train'):
            from_flags(tmp_path / 'typo', *arguments)
    for arguments in (['--model=tuto'], ['--vary=momentum=0.5'], ['--seeds=2'], ['--epochs=3']):
        from_flags(tmp_path / 'typo', *arguments)


@pytest.mark.parametrize('place', ['.', 'lenet5', 'lenet5/1'])
def test_a_study_does_not_mix_with_other_runs(tmp_path, place):
    (tmp_path / 'lenet5' / '1').mkdir(parents=True)
    (tmp_path / 'lenet5' / '1' / 'config.json').write_text('{}')
    with pytest.raises(UsageError, match='holds a run: name a new directory for the study'):
        from_flags(tmp_path / place, '--model=lenet5')
    from_flags(tmp_path / 'study', '--model=lenet5')


def test_a_study_file_is_no_directory_of_runs(tmp_path):
    (tmp_path / 'x.json').write_text('{}')
    with pytest.raises(UsageError, match='use --template'):
        from_flags(tmp_path / 'x.json')


def test_the_password_of_a_database_is_not_written(tmp_path):
    made = from_flags(tmp_path, '--vary=momentum=0.1,0.2', '--search=3',
                    '--storage=postgresql://me:secret@host/name')
    assert made.storage == 'postgresql://me@host/name' and made.count == 3
    study.write(str(tmp_path), made)  # a search goes on without --search
    made = from_flags(tmp_path, '--storage=postgresql://host/name?user=me&password=secret&port=5')
    assert made.storage == 'postgresql://host/name?user=me&port=5'
    assert from_flags(tmp_path, '--storage=sqlite:///x.db').storage == 'sqlite:///x.db'


@pytest.mark.parametrize('url, kept', [
    ('postgresql://user:pw@host/db?options=a@b', 'postgresql://user@host/db?options=a@b'),
    ('postgresql://host:5432/db?options=a@b', 'postgresql://host:5432/db?options=a@b'),
    ('postgresql://host/db?password=p@ss', 'postgresql://host/db'),
    ('postgresql://host:1/db?password=p@ss&port=5', 'postgresql://host:1/db?port=5'),
    ('postgresql://host?password=p@ss', 'postgresql://host'),
    ('postgresql://me@host/db?sslpassword=x&port=5', 'postgresql://me@host/db?port=5'),
    ('mysql://me@host/db?port=5&passwd=x', 'mysql://me@host/db?port=5'),
    ('mysql://me@host/db?PASS%77ord=x', 'mysql://me@host/db'),
    ('mysql://me:p?w/x@host/db', 'mysql://me@host/db'),
    ('mysql://me:p@ss@host/db?x=1', 'mysql://me@host/db?x=1'),
    ('sqlite:////a@b/x.db', 'sqlite:////a@b/x.db')])
def test_a_url_loses_its_password_and_nothing_else(url, kept):
    assert study.without_password(url) == kept


def test_a_ready_study_is_found_from_any_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert study._find('studies/sprint.json') == os.path.join(ROOT, 'studies', 'sprint.json')
    assert study._find('studies/none.json') == 'studies/none.json'
    (tmp_path / 'studies').mkdir()
    (tmp_path / 'studies' / 'sprint.json').write_text('{}')
    assert study._find('studies/sprint.json') == 'studies/sprint.json'


@pytest.mark.parametrize('name', sorted(os.listdir(os.path.join(ROOT, 'studies'))))
def test_the_ready_studies_make_runs(synthetic, tmp_path, capsys, name):
    template = '--template=' + os.path.join(ROOT, 'studies', name)
    planned = helpers.planned_runs(tmp_path, template, '--dataset=synthetic', '--validation=100',
                                   f'--data_dir={synthetic.directory}')
    expected = {'tutorial.json': 15, 'davidnet_branches.json': 15, 'bag_of_tricks.json': 11,
                'compress.json': 18, 'distillation.json': 6, 'sprint.json': 6,
                'sprint_rates.json': 8, 'squeeze.json': 4}
    assert len(planned) == expected[name]
    assert 'so it is left out' not in capsys.readouterr().out
