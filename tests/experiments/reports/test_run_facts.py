"""Facts of a report: what files of others hold is checked, and never an error."""

import base64
import dataclasses
import hashlib
import io
import json

import numpy as np
import pytest
from PIL import Image

from permafrost import runs
from permafrost.config import Config
from permafrost.datasets import loading
from permafrost.experiments.reports import run_facts
from permafrost.recipes import overrides

CONFUSION = [[8, 2, 0], [0, 10, 0], [1, 4, 5]]
CLASSES = ('cat', 'dog', 'ship')


def config(**fields):
    return Config('tuto', overrides.get_recipe('tutorial', ['learning_rate=0.05']), 100, **fields)


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / 'eval' / 'test'
    folder.mkdir(parents=True)
    return folder


def test_the_last_metrics_count(tmp_path, folder):
    lines = [{'step': step, 'confusion': CONFUSION, 'images': 30, 'accuracy': 0.5, 'more': 1}
             for step in (5, 7)]
    (folder / 'metrics.jsonl').write_text('\n'.join(map(json.dumps, lines)) + '\n')
    run = str(tmp_path)
    assert run_facts.metrics(run, 'test', 3, 'averaged')['step'] == 7
    assert run_facts.metrics(run, 'test', 4, 'averaged') is None
    assert run_facts.metrics(run, 'validation', 3, 'averaged') is None


def test_the_last_usable_metrics_of_the_runs_weights_count(tmp_path, folder):
    line = {'step': 5, 'confusion': CONFUSION, 'images': 30, 'accuracy': 0.5, 'weights': 'averaged'}
    lines = [line, dict(line, step=6, weights='raw'), dict(line, step=7, confusion=[[1]]),
             dict(line, step=8, accuracy=2), dict(line, step=9, confusion='x')]
    (folder / 'metrics.jsonl').write_text('\n'.join(map(json.dumps, lines)) + '\n')
    for weights, step in (('averaged', 5), ('raw', 6)):
        assert run_facts.metrics(str(tmp_path), 'test', 3, weights)['step'] == step


@pytest.mark.parametrize('line', [
    '', '{', '[]', '{"step": 1}', '{"step": -1, "confusion": []}',
    '{"step": 1, "confusion": [[1, 2], [3]]}', '{"step": 1, "confusion": [[1, -2], [3, 4]]}',
    '{"step": 1, "confusion": [[1, 1e999], [3, 4]]}',
    '{"step": 1, "confusion": [["a", 2], [3, 4]]}'])
def test_damaged_metrics_are_left_out(tmp_path, folder, line):
    (folder / 'metrics.jsonl').write_text(line)
    assert run_facts.metrics(str(tmp_path), 'test', 2, 'raw') is None


def test_each_class_has_its_accuracy_and_its_commonest_mistake():
    by_class, rows = run_facts.class_metrics(CONFUSION, CLASSES)
    assert by_class == [('cat', 0.8, 'dog (2)'), ('dog', 1.0, ''), ('ship', 0.5, 'dog (4)')]
    assert [row.counts for row in rows] == CONFUSION and {row.total for row in rows} == {10}
    assert rows[0].shades[2] == 0 < rows[0].shades[1] < rows[0].shades[0] < 1


def test_a_class_without_images_and_many_classes():
    by_class, rows = run_facts.class_metrics([[0, 0], [1, 1]], ('a', 'b'))
    assert by_class[0] == ('a', None, '') and len(rows) == 2
    by_class, rows = run_facts.class_metrics(np.eye(100, dtype=int).tolist(), [''] * 100)
    assert len(by_class) == 100 and rows == []


def test_mistakes_are_pictures_and_no_other_image_is_read(tmp_path, folder, synthetic, monkeypatch):
    run_facts._dataset.cache_clear()
    images, _ = loading.load(synthetic, 'test')
    monkeypatch.setattr(loading, 'load', None)
    of_run = config(dataset=synthetic.name, data_dir=synthetic.directory)
    wrong = [{'index': index, 'label': label, 'predicted': 2, 'probability': 0.75}
             for index, label in ((10**6, 1), (0, 99))]
    right = [dict(wrong[0], index=index) for index in (7, 3, 7)]
    (folder / 'mistakes.json').write_text(json.dumps(wrong))
    assert run_facts.mistakes(str(tmp_path), of_run, 'test', synthetic.classes) == []
    (folder / 'mistakes.json').write_text(json.dumps(right + wrong))
    pictures = run_facts.mistakes(str(tmp_path), of_run, 'test', synthetic.classes)
    assert pictures[1][1:] == (3, synthetic.classes[1], synthetic.classes[2], 0.75)
    assert [picture.number for picture in pictures] == [7, 3, 7]
    for picture in pictures:
        content = base64.b64decode(picture.picture.partition(',')[2])
        np.testing.assert_array_equal(
            np.array(Image.open(io.BytesIO(content))), images[picture.number])


def test_settings_say_what_the_recipe_has_instead():
    recipe, run = (dict((name, rest) for name, *rest in table)
                   for _, table in run_facts.settings(config(statistics=(1., 2.))))
    assert recipe['learning_rate'] == ['0.05', '0.1'] and recipe['momentum'] == ['0.9', None]
    assert recipe['augmentation'] == ['crop, flip, brightness, contrast', None]
    assert run['steps'] == ['100', None] and 'statistics' not in run


def test_settings_of_an_unknown_recipe():
    unknown = dataclasses.replace(config(), recipe=dataclasses.replace(
        config().recipe, name='mine'))
    assert {usual for _, _, usual in run_facts.settings(unknown)[0][1]} == {None}


def test_a_latency_is_that_of_the_frozen_graph(tmp_path):
    run = str(tmp_path)
    assert run_facts.frozen(run, 'tuto') is None
    (tmp_path / 'tuto.pb').write_bytes(b'graph')
    checksum = hashlib.sha256(b'graph').hexdigest()
    described = {'bytes': 5, 'step': 3, 'sha256': checksum}
    (tmp_path / 'tuto.json').write_text(json.dumps(described))
    (tmp_path / 'latency.json').write_text(json.dumps({'latency_ms': .5, 'sha256': checksum}))
    card = run_facts.frozen(run, 'tuto')
    assert card.bytes == 5 and run_facts.latency(run, card)['latency_ms'] == 0.5
    (tmp_path / 'latency.json').write_text('{"latency_ms": 0.5, "sha256": "cd"}')
    assert run_facts.latency(run, card) == {}
    for other in (b'other', b'another'):
        (tmp_path / 'tuto.pb').write_bytes(other)
        assert run_facts.frozen(run, 'tuto') is None
    (tmp_path / 'tuto.pb').write_bytes(b'graph')
    (tmp_path / 'tuto.json').write_text('{"bytes": 5}')  # damaged: of no step
    assert run_facts.frozen(run, 'tuto') is None


@pytest.mark.parametrize('status, is_running, step, expected', [
    ('running', True, 50, ('running', True)), ('running', False, 50, ('killed', False)),
    ('failed', False, 50, ('failed', False)), ('done', True, 50, ('done', False)),
    ('running', True, 100, ('done', False)), ('', False, 0, ('empty', False)),
    ('', True, 0, ('running', True))])
def test_the_state_of_a_run(tmp_path, monkeypatch, status, is_running, step, expected):
    monkeypatch.setattr(runs, 'is_running', lambda run: is_running)
    (tmp_path / 'train').mkdir()
    if status:
        runs.write_status(str(tmp_path), state=status, step=step)
    assert run_facts.page_state(str(tmp_path), config(), step) == expected
    if step < 100 and status != 'done':  # info.py --run says the same
        assert runs.state(str(tmp_path), config())[0] == expected[0]
