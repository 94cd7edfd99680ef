"""info.py: counts as published, as tables and as json; recipes; wrong flags."""

import json

import pytest

import models
from permafrost import runs
from permafrost.errors import UsageError, UserError
from permafrost.experiments import model_info
from permafrost.recipes import catalog
from tests import in_process, networks
from tests.models.tables import PUBLISHED


def test_counts_as_json_are_as_published(capsys, monkeypatch):
    names = sorted({name for name, _ in PUBLISHED})
    monkeypatch.setattr(models, 'MODELS', {name: models.MODELS[name] for name in names})
    model_info.show(as_json=True)
    sizes = json.loads(capsys.readouterr().out)  # nothing else is printed there
    assert all(set(size) == {'model', 'image_size', 'params', 'ops', 'macs'} for size in sizes)
    sizes = {(size['model'], size['image_size']): size for size in sizes}
    for key, published in PUBLISHED.items():
        assert (f"{sizes[key]['params'] / 1e6:.2f}", f"{sizes[key]['ops'] / 1e6:.2f}") == published


def test_every_model_is_shown_at_the_size_of_its_recipe(capsys, monkeypatch):
    monkeypatch.setattr(model_info, 'measure_model', lambda model, image_size, classes: {
        'model': model, 'image_size': image_size, 'layers': [], 'params': 0, 'ops': 0, 'macs': 0})
    model_info.show()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines[:-4]] == [['model', 'images']] + [
        [name, '{0}x{0}'.format(catalog.image_size(name))] for name in models.MODELS] + [
            ['tuto', '32x32']]
    assert catalog.image_size('cs231n') == 32 and catalog.image_size('tuto') == 24


def test_counts_of_layers_add_up():
    size = model_info.measure_model('squeeze1', 24)
    for count in model_info.COUNTS:
        assert sum(layer[count] for layer in size['layers']) == size[count]
    assert size['layers'][0] == {'name': 'conv1', 'kind': 'conv', 'output_shape': (24, 24, 64),
                                 'params': 1792, 'ops': 2101248, 'macs': 995328}


def test_a_model_is_shown_layer_by_layer(capsys):
    model_info.show('tuto', 32)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == 'tuto, 32x32 images'
    rows = {line.split()[0]: line.split() for line in lines[2:] if line}
    assert rows['conv1'] == ['conv1', 'conv', '32x32x64', '4,864', '10,027,008', '4,915,200']
    assert rows['total'] == ['total', '1,756,426', '66,983,370', '32,778,112']
    assert len({len(line) for line in lines[2:13]}) == 1  # columns
    assert 'ops: 2 per multiply-accumulate' in lines[-3] and 'macs: ' in lines[-1]


def test_json_has_layers_on_request(capsys):
    model_info.show('alex2', 28, layers=True, as_json=True)
    size, = json.loads(capsys.readouterr().out)
    assert size['image_size'] == 28
    assert [layer['name'] for layer in size['layers']] == [
        'conv1', 'pool1', 'conv2', 'pool2', 'fc1', 'fc2', 'logits']


def test_models_are_listed_without_being_built(tmp_path, capsys):
    (tmp_path / 'nin2.pb').write_text('')
    (tmp_path / 'nin2.json').write_text('{"accuracy": 0.875}')
    (tmp_path / 'tuto.pb').write_text('')
    (tmp_path / 'tuto.json').write_text('null')
    for name in ('alex2', 'alex3'):
        (tmp_path / (name + '.pb')).write_text('')
    (tmp_path / 'alex2.json').write_text('{"accuracy": 0.5, "recipe": "tutorial"}')
    (tmp_path / 'alex3.json').write_text('{"accuracy": 0.5, "recipe": "squeeze"}')
    (tmp_path / 'davidnet.int8.tflite').write_text('')
    (tmp_path / 'alex4.pb').write_text('another graph')
    (tmp_path / 'alex4.json').write_text('{"accuracy": 0.5, "bytes": 7}')
    model_info.show_models(str(tmp_path))
    header, *rows = [line.split() for line in capsys.readouterr().out.splitlines() if line]
    assert [row[0] for row in rows[:-1]] == list(models.MODELS)
    row = next(row for row in rows if row[0] == 'nin2')
    assert row[1:3] == [catalog.DEFAULT_RECIPES.get('nin2', 'tutorial'), '24x24']
    assert row[-1] == '0.8750' and row[-3].endswith('nin2.pb,')
    assert rows[-1][-2:] == ['info.py', '--all']
    alex2, alex3 = (next(row for row in rows if row[0] == name) for name in ('alex2', 'alex3'))
    assert next(row for row in rows if row[0] == 'davidnet')[-1].endswith('davidnet.int8.tflite')
    assert next(row for row in rows if row[0] == 'alex4')[-1].endswith('alex4.pb')
    assert alex2[-1] == '0.5000' and alex3[-3:] == ['0.5000', '(recipe', 'squeeze)']


def test_a_run_is_shown(synthetic, tmp_path, capsys):
    networks.train(synthetic, tmp_path / 'run', 2, 'lenet5')
    capsys.readouterr()
    model_info.show_run(str(tmp_path / 'run'))
    text = capsys.readouterr().out
    assert f'run: {tmp_path}/run\n' in text and 'step: 2\n' in text and 'logits' in text
    model_info.show_run(str(tmp_path / 'run'), as_json=True)
    shown, = json.loads(capsys.readouterr().out)
    assert (shown['model'], shown['step'], shown['state']) == ('lenet5', 2, 'done')
    runs.write_status(str(tmp_path / 'run'), state='running', step=1)
    model_info.show_run(str(tmp_path / 'run'))
    assert 'state: killed\nstep: 1\n' in capsys.readouterr().out
    (tmp_path / 'run' / 'status.json').unlink()
    model_info.show_run(str(tmp_path / 'run'))
    assert 'state: empty\nstep: 0\n' in capsys.readouterr().out


def test_a_converted_file_is_not_counted(tmp_path):
    path = tmp_path / 'a.tflite'
    path.write_bytes(b'x')
    with pytest.raises(UserError, match='not a TensorFlow graph, so .* counted: name the .pb file'):
        model_info.show_graph(str(path))
    (tmp_path / 'a.tflite.json').write_text('{}')
    with pytest.raises(UserError, match='counted: see .*/a.tflite.json$'):
        model_info.show_graph(str(path))


def test_recipes_are_shown_as_text_and_json(capsys):
    model_info.show_recipes()
    text = capsys.readouterr().out
    assert 'davidnet (davidnet)\n  12 epochs; batch size 1000, muon, learning rate 0.12' in text
    model_info.show_recipes(as_json=True)
    recipes = {value['recipe']: value for value in json.loads(capsys.readouterr().out)}
    assert set(recipes) == set(catalog.RECIPES)
    assert recipes['resnet']['models'][0] == 'resnet20'
    assert recipes['resnet']['settings']['batch_size'] == 500


def test_a_model_for_which_images_are_too_small_does_not_end_the_list(capsys, monkeypatch):
    names = ('lenet5', 'tuto')
    monkeypatch.setattr(models, 'MODELS', {name: models.MODELS[name] for name in names})
    model_info.show(image_size=8)
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[1:3]]
    assert rows[0] == ['lenet5', '8x8', '?', '?', '?']
    assert rows[1][:2] == ['tuto', '8x8'] and '?' not in rows[1]
    model_info.show(image_size=8, as_json=True)
    assert json.loads(capsys.readouterr().out)[0] == {
        'model': 'lenet5', 'image_size': 8, 'params': None, 'ops': None, 'macs': None}


def test_the_reason_why_images_are_too_small_is_short():
    with pytest.raises(UsageError) as error:
        model_info.measure_model('lenet5', 8)
    assert str(error.value).startswith('lenet5 cannot process images of 8x8 pixels (')
    assert 'node' not in str(error.value) and len(str(error.value)) < 250


@pytest.mark.parametrize('arguments, message', [
    (('tutto',), "unknown model 'tutto'; did you mean tuto?"),
    (('lenet5', 2), 'lenet5 cannot process images of 2x2 pixels')])
def test_unknown_models_and_small_images_are_refused(arguments, message):
    with pytest.raises(UsageError) as error:
        model_info.show(*arguments)
    assert message in str(error.value) and '\n' not in str(error.value)


@pytest.mark.parametrize('flags, message', [
    (['--model=tuto', '--all'], 'use --model or --all, not both'),
    (['--modle=tuto'], 'unknown flag --modle'),
    (['--image_size=0'], '--image_size=0: 0 is not an integer in the range [1, 4096]'),
    (['--graph=a.pb', '--model=tuto'], '--graph can be combined with --json and --image_size only'),
    *((['--layers', flag], f"{flag.partition('=')[0]} can be combined with --json")
      for flag in ('--graph=a.pb', '--recipes', '--run=runs/tuto/1')),
    (['--recipes', '--image_size=24'], '--recipes can be combined with --json only')])
def test_wrong_flags_are_one_line(flags, message):
    result = in_process.run('info.py', *flags)
    assert (result.code, result.stdout, result.stderr.count('\n')) == (2, '', 1)
    assert message in result.stderr
