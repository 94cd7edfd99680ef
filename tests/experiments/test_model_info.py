"""info.py: counts as published, as tables and as json; bad flags."""

import json
import os
import subprocess
import sys

import pytest

import models
from permafrost.experiments import model_info
from tests.models.test_models import PUBLISHED

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def run(*args):
    """(exit code, stdout, stderr) of info.py, run from elsewhere."""
    process = subprocess.Popen([sys.executable, os.path.join(ROOT, 'info.py')] + list(args),
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd='/',
                               universal_newlines=True)
    out, err = process.communicate()
    return process.returncode, out, err


def test_all_as_json_is_as_published():
    code, out, err = run('--all', '--json')
    assert code == 0, err
    sizes = json.loads(out)
    assert all(set(size) == {'model', 'image_size', 'params', 'ops', 'macs'} for size in sizes)
    found = {(size['model'], size['image_size']): size for size in sizes}
    assert len(found) == len(sizes) and {model for model, _ in found} == set(models.MODELS)
    assert ('cs231n', 32) in found
    for key, published in PUBLISHED.items():
        assert ('%.2f' % (found[key]['params'] / 1e6),
                '%.2f' % (found[key]['ops'] / 1e6)) == published


def test_layers_add_up():
    size = model_info.measure_model('squeeze1', 24)
    for count in ('params', 'ops', 'macs'):
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
    assert 'ops: 2 per multiply-accumulate' in lines[-2] and 'macs: ' in lines[-1]


def test_all_is_a_line_each(capsys):
    model_info.show()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines[1:-3]] == [
        [name, '{0}x{0}'.format(models.IMAGE_SIZES[name])] for name in models.MODELS] + [
            ['tuto', '32x32']]


def test_json_with_layers(capsys):
    model_info.show('alex2', 28, layers=True, as_json=True)
    size, = json.loads(capsys.readouterr().out)
    assert size['image_size'] == 28
    assert [layer['name'] for layer in size['layers']] == [
        'conv1', 'pool1', 'conv2', 'pool2', 'fc1', 'fc2', 'logits']


@pytest.mark.parametrize('args, message', [
    (['--model', 'tutto'], "unknown model 'tutto'; did you mean tuto?"),
    (['--image_size', '-3'], 'image_size must be from 1 to 4096, not -3'),
    (['--image_size', '0'], 'image_size must be from 1 to 4096, not 0'),
    (['--model', 'tuto', '--all'], 'give --model or --all, not both'),
    (['--modle', 'tuto'], "'modle'"),
])
def test_bad_flags_are_one_line(args, message):
    code, out, err = run(*args)
    assert (code, out, err.count('\n')) == (2, '', 1)
    assert message in err
