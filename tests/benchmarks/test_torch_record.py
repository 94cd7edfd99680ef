"""The record's training in PyTorch, on few images: its network, images and result."""

import json
import subprocess

import pytest

from tests.processes import ROOT

SMALL = '''
import torch
from benchmarks.runtimes import torch_record

def load(split):  # bright images are of class 1
    labels = torch.arange(80) % 2
    return torch.randn(80, 3, 32, 32) + 2. * labels[:, None, None, None] - 1, labels

torch_record.load = load
torch_record.BATCH_SIZE, torch_record.EPOCHS, torch_record.BIAS_EPOCHS = 20, 4, 2
'''


@pytest.fixture()
def run(pytorch_python):
    def run(code, *args):
        subprocess.run([pytorch_python, '-c', SMALL + code, *args], cwd=ROOT, check=True,
                       timeout=300)
    return run


def test_the_result_is_that_of_a_training(run, tmp_path):
    run('torch_record.main()', '--seed=3', f'--results={tmp_path}/result.json')
    result = json.loads((tmp_path / 'result.json').read_text())
    assert result['seed'] == 3 and result['train_seconds'] > 0 and result['torch']
    assert result['accuracy'] > 0.9 and result['accuracy_tta'] > 0.9  # without training: 0.5


def test_the_first_layer_whitens_patches(run):
    run('''
images, _ = load('train')
network = torch_record.create(images)
outputs = (network[0](images) - network[0].bias[:, None, None]).detach()
outputs = outputs.transpose(0, 1).flatten(1)[:12]
moments = outputs @ outputs.T / outputs.shape[1]
assert (moments - torch.eye(12)).abs().max() < 0.02, moments
''')


def test_images_shift_and_odd_epochs_flip_the_others(run):
    run('''
numbers, places = torch.arange(64.), torch.arange(32.)
images = torch.stack(torch.meshgrid(numbers, places, places, indexing='ij'))  # number, row, column
padded = torch.nn.functional.pad(images.transpose(0, 1), (2,) * 4, 'reflect')
flipped = numbers % 2 == 0
for epoch in 0, 1:
    number, row, column = torch_record.epoch_of(padded, flipped, epoch)[:, :, 5, 16].T
    assert (number == numbers).all()
    turn = flipped == (epoch == 0)
    for shift in row - 5, column - torch.where(turn, 15, 16):
        assert set(shift.tolist()) == {-2, -1, 0, 1, 2}, shift
    changed = torch_record.epoch_of(padded, flipped, epoch)[:, 2, 5]
    assert ((changed[:, 20] < changed[:, 10]) == turn).all()
''')
