"""The benchmark of exported files, with answers that need no runtime."""

import json
import os

import pytest

from benchmarks import deploy, runner
from permafrost import files
from permafrost.errors import UserError
from permafrost.evaluation.runtimes import client


def test_each_file_is_compared_in_each_setting(synthetic, tmp_path, monkeypatch, capsys):
    commands = []

    def run(*command):
        commands.append(command)
        if 'freeze_graph.py' in command:
            graph = command[2].partition('=')[2]
            assert open(graph).read() == 'a graph'
            files.write_json(graph[:-3] + '.int8.tflite.json', {'correct': 7})
        if '--compare' in command:
            names = [each for each in command[1:] if not each.startswith('--')]
            has_images = any(each.startswith('--batch_file') for each in command)
            return json.dumps({'models': [
                dict({'runtime': name.partition('=')[0], 'bytes': 9, 'latency_ms': {'median': 1.5}},
                     **({'correct': 8, 'images': 10} if has_images else {})) for name in names]})
        return ''
    monkeypatch.setattr(runner, 'output_of', run)
    monkeypatch.setattr(client, 'python', lambda environment: environment)
    graph = tmp_path / 'net.pb'
    graph.write_text('a graph')
    result = deploy.benchmark(runner.Options(
        models=[str(graph)], dataset='synthetic', data_dir=synthetic.directory))
    rows = result['models']['net']
    assert len(rows) == len(deploy.FILES) and os.listdir(str(tmp_path)) == ['net.pb']
    settings = [f'{batch} {threads}' for batch, threads in deploy.SETTINGS]
    for row in rows:
        assert row['ms'] == dict.fromkeys(settings, 1.5)
        assert (row['correct'], row['images'], row['bytes']) == (8, 10, 9)
    int8 = next(row for row in rows if row['file'] == 'net.int8.tflite')
    assert int8['runtime'] == 'litert' and int8['correct_in_python'] == 7
    assert sum('--compare' in command for command in commands) == len(deploy.SETTINGS)


def test_graphs_are_checked_before_anything_is_measured(tmp_path):
    for folder in ('a', 'b'):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / 'net.pb').write_text('a graph')
    first, second, missing = (str(tmp_path / name) for name in ('a/net.pb', 'b/net.pb', 'no.pb'))
    for models, message in (([first, second], 'have the same name: rename one, or leave it out$'),
                            ([first, missing], 'no.pb does not exist: name another graph')):
        with pytest.raises(UserError, match=message):
            deploy.benchmark(runner.Options(models=models))
