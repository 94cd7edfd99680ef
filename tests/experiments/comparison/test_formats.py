"""Comparisons as text, csv and Markdown."""

import csv
import dataclasses
import io

from permafrost.experiments.comparison import formats
from permafrost.experiments.comparison.table import Comparison, Difference, Interval, Row

HOSTILE = '<script>|\n=1+1\x1b[31m'


def row(name, rate, low=None, high=None, **fields):
    difference = None if low is None else Difference(
        (low + high) / 2, Interval(low, high), 'welch')
    return Row(name, 'tuto', {'learning_rate': rate}, **dict(
        dict(seeds=(1, 2), accuracies=(0.80, 0.82), images=10000, mean=0.81, std=0.014142,
             interval=Interval(0.6829, 0.9371), difference=difference, params=1068298, ops=37745098,
             train_seconds=1636.4), **fields))


COMPARISON = Comparison('study', (
    row('baseline', '0.1', bytes=4276533, latency=0.4567, runs=('s/runs/baseline/seed1',)),
    row('learning_rate=0.05', '0.05', 0.001, 0.021),
    row('learning_rate=1', '1', -0.02, 0.03),
    row('learning_rate=9', '9', mean=None, std=None, accuracies=(), seeds=(), images=0,
        train_seconds=None, notes=('seed 1: failed, step 3 of 9',))),
    ('learning_rate',), latency_of='one image', notes=('x: left out',))


def test_the_terminal_shows_what_differs_and_marks_what_is_no_noise():
    lines = formats.text(COMPARISON).splitlines()
    assert lines[0].split() == [
        'learning_rate', 'seeds', 'accuracy', '%', 'difference', 'params', 'M', 'ops', 'M', 'file',
        'MB', 'ms', 'training']
    assert '81.00 ± 1.41' in lines[1] and 'baseline' in lines[1] and '27 min' in lines[1]
    assert lines[1].split()[-5:] == ['37.75', '4.28', '0.457', '27', 'min']
    assert '+1.10 [+0.10, +2.10] *' in lines[2]
    assert '+0.50 [-2.00, +3.00]' in lines[3] and '*' not in lines[3]
    assert lines[4].split()[:4] == ['9', '0', '–', '–']
    assert lines[6].startswith('accuracy: of the last checkpoint, on 10000 test images, mean')
    assert 'learning_rate=9: seed 1: failed, step 3 of 9' in lines and lines[-1] == 'x: left out'


def test_markdown_has_six_columns_and_is_bold_without_noise():
    lines = formats.markdown_table(COMPARISON)
    table = [line for line in lines if line.startswith('|')]
    assert len(table) == 6 and all(line.count(' | ') == 5 for line in table)
    assert '| **+1.10 [+0.10, +2.10]** |' in table[3] and '**' not in ''.join(table[4:])
    assert '- x: left out' in lines


def test_compressed_size_and_zeros_are_shown_where_they_are_known():
    pruned = Comparison('runs', (
        row('dense', '1', gzip_bytes=550000), row('sparse', '2', gzip_bytes=160256, sparsity=.776)))
    lines = formats.text(pruned).splitlines()
    assert 'gzip MB  sparsity %' in lines[0]
    assert ' 0.55           –' in lines[1] and ' 0.16        77.6' in lines[2]
    rows = list(csv.DictReader(io.StringIO(formats.csv_text(pruned))))
    assert (rows[1]['gzip_bytes'], rows[1]['sparsity']) == ('160256', '0.776')


def test_csv_has_every_number():
    rows = list(csv.DictReader(io.StringIO(formats.csv_text(COMPARISON))))
    assert [each['learning_rate'] for each in rows] == ['0.1', '0.05', '1', '9']
    assert rows[0]['images'] == str(COMPARISON.rows[0].images)
    assert rows[0]['accuracies'] == '0.8 0.82' and rows[0]['accuracy'] == '0.81'
    assert (rows[0]['bytes'], rows[0]['latency_ms'], rows[0]['train_seconds']) == (
        '4276533', '0.4567', '1636.4')
    assert (rows[1]['difference_low'], rows[1]['method']) == ('0.001', 'welch')
    assert rows[3]['accuracy'] == rows[3]['difference'] == rows[1]['latency_ms'] == ''


def test_a_setting_and_a_measure_of_one_name_have_columns_of_their_own():
    pruned = Comparison('runs', (row('a', '0.8', sparsity=.776),), ('learning_rate',))
    pruned = dataclasses.replace(pruned, settings=('sparsity',), rows=tuple(
        dataclasses.replace(each, settings={'sparsity': '0.8'}) for each in pruned.rows))
    header, _ = csv.reader(io.StringIO(formats.csv_text(pruned)))
    (cells,) = csv.DictReader(io.StringIO(formats.csv_text(pruned)))
    assert len(set(header)) == len(header)
    assert (cells['setting sparsity'], cells['sparsity']) == ('0.8', '0.776')


def test_the_gpu_stands_next_to_the_training_time():
    trained = Comparison('runs', (row('a', '1', gpu='NVIDIA|H100\n'), row('b', '2'),
                                  row('c', '3', gpu='x', train_seconds=None)))
    lines = formats.text(trained).splitlines()
    assert lines[1].endswith('  27 min on NVIDIA|H100\\n') and lines[2].endswith('  27 min')
    assert lines[3].endswith('–')
    assert 'H100' in formats.markdown_table(trained)[2]
    assert formats.markdown_table(trained)[2].count(' | ') == 5
    rows = list(csv.DictReader(io.StringIO(formats.csv_text(trained))))
    assert [each['gpu'] for each in rows] == ['NVIDIA|H100\\n', '', 'x']


def test_a_single_seed_is_told_from_several():
    one = Comparison('runs', (
        row('tuto', '1', std=None), row('tuto', '2', difference=Difference(
            0.1, Interval(0.05, 0.15), 'binomial'), std=None)), ('learning_rate',))
    text = formats.text(one)
    assert '±' not in text and 'a single seed does not show the noise of training' in text


def test_names_are_shown_where_the_settings_do_not_tell_rows_apart():
    same = Comparison('runs', (row('tuto', '1'), row('tuto (2)', '1')), ('learning_rate',))
    assert formats.text(same).splitlines()[2].startswith('tuto (2)  1 ')
    named = Comparison('study', (row('baseline', '1'), row('no_lrn', '2')), ('learning_rate',))
    assert formats.text(named).splitlines()[2].startswith('no_lrn')


def test_long_settings_are_cut_unless_they_would_look_the_same():
    base = 'crop,flip,brightness,contrast,cutout:'
    one, two = (Comparison('runs', tuple(row('tuto', base + size) for size in sizes),
                           ('learning_rate',)) for sizes in (('8',), ('8', '16')))
    assert 'cutout' not in formats.text(one) and base[:30] in formats.text(one)
    assert base + '8 ' in formats.text(two) and base + '16' in formats.text(two)


def test_columns_without_a_number_are_left_out():
    assert ' ms' not in formats.text(Comparison('runs', (row('tuto', '1'),))).splitlines()[0]


def test_hostile_names_are_escaped_everywhere():
    hostile = Comparison(HOSTILE, (row(HOSTILE, '=cmd()', notes=(HOSTILE,)),), ('learning_rate',),
                         notes=(HOSTILE,))
    text = formats.text(hostile)
    assert '\x1b' not in text and '<script>|\\n=1+1\\x1b' in text
    markdown = '\n'.join(formats.markdown_table(hostile))
    assert '<script>' not in markdown and '\x1b' not in markdown
    assert all(line.count('|') == 7 for line in markdown.splitlines()[:3])
    (cells,) = csv.DictReader(io.StringIO(formats.csv_text(hostile)))
    assert cells['learning_rate'] == "'=cmd()" and '\n' not in cells['variant']


def test_milliseconds_have_three_digits():
    shown = [formats.MEASURES['ms'](row('a', '1', latency=value)) for value in (99.94, 99.97, 1234)]
    assert shown == ['99.9', '100', '1234']


def test_no_accuracy_is_said_in_words():
    lines = formats.facts(Comparison('runs', (row('a', '1', images=0),)), '*')
    assert lines == ['accuracy: no finished run was evaluated on the test images']


def test_durations():
    assert [formats.duration(each) for each in (None, 95, 1636.4, 9000)] == [
        '–', '95 s', '27 min', '2.5 h']
