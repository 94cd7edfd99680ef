"""Train the record for 94 % on CIFAR-10 in PyTorch, on the CPU: its seconds and accuracy.

airbench94 with Muon (https://github.com/KellerJordan/cifar10-airbench), eight epochs in batches of
2,000 images, here in bfloat16 and channels_last. In .venv/pytorch, with tcmalloc preloaded:
    LD_PRELOAD=libtcmalloc_minimal.so.4 .venv/pytorch/bin/python -m benchmarks.runtimes.torch_record
"""

import argparse
import time

import torch
from torch import nn
from torch.nn import functional

from benchmarks import measure
from benchmarks.runtimes import torch_networks
from benchmarks.runtimes.torch_training import Muon
from permafrost import files
from permafrost.datasets import loading

BATCH_SIZE, EPOCHS, BIAS_EPOCHS, SHIFT = 2000, 8, 3, 2
BIAS_RATE, HEAD_RATE, MUON_RATE, DECAY = 0.053, 0.67, 0.24, 2e-6 * BATCH_SIZE  # of sums of losses
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)


def load(split):
    """Return images, normalized [N, 3, 32, 32], and labels."""
    images, labels = loading.load(loading.open_dataset('cifar10'), split)
    images = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    mean, std = (torch.tensor(value)[:, None, None] for value in (MEAN, STD))
    return (images - mean) / std, torch.from_numpy(labels).long()


def create(images):
    """Return the network, with its first filters from patches of `images`."""
    network = torch_networks.NETWORKS['sprint']().to(memory_format=torch.channels_last)
    for layer in network.modules():
        if isinstance(layer, torch_networks.Gelu):
            layer.exact = True
        elif isinstance(layer, nn.Conv2d) and layer.weight.requires_grad:
            nn.init.dirac_(layer.weight.data[:layer.in_channels])
        elif isinstance(layer, nn.Linear):
            layer.weight.data /= layer.weight.data.std()
    patches = images.unfold(2, 2, 1).unfold(3, 2, 1).transpose(1, 3).reshape(-1, 12)
    values, vectors = torch.linalg.eigh(patches.T @ patches / len(patches))
    filters = (vectors / (values + 5e-4).sqrt()).T.flip(0).reshape(-1, 3, 2, 2)
    network[0].weight.data[:] = torch.cat((filters, -filters))
    return network


def epoch_of(padded, flipped, epoch):
    """Return all images [N, 3, 32, 32], moved at random and flipped as the epoch says."""
    shifts = torch.randint(0, 2 * SHIFT + 1, (2, len(padded)))
    images = torch.empty(len(padded), 3, 32, 32).to(memory_format=torch.channels_last)
    for y in range(2 * SHIFT + 1):
        for x in range(2 * SHIFT + 1):
            mask = (shifts[0] == y) & (shifts[1] == x)
            images[mask] = padded[mask, :, y:y + 32, x:x + 32]
    turn = flipped ^ bool(epoch % 2)
    images[turn] = images[turn].flip(-1)
    return images


def train(network, images, labels):
    """Train `network`; return the seconds that its epochs took."""
    biases = [value for name, value in network.named_parameters()
              if name.endswith('bias') and name != '0.bias']
    groups = [{'params': [value], 'lr': rate, 'weight_decay': DECAY / rate} for value, rate in (
        (network[0].bias, BIAS_RATE), *((value, BIAS_RATE) for value in biases),
        (next(layer for layer in network if isinstance(layer, nn.Linear)).weight, HEAD_RATE))]
    optimizers = [torch.optim.SGD(groups, momentum=.85, nesterov=True),
                  Muon([value for value in network.parameters()
                        if value.ndim == 4 and value.requires_grad], MUON_RATE, .6, torch.bfloat16)]
    first = [group['lr'] for group in optimizers[0].param_groups]
    padded = functional.pad(images, (SHIFT,) * 4, 'reflect')
    flipped = torch.rand(len(images)) < .5
    steps_per_epoch = len(images) // BATCH_SIZE
    start, step = time.perf_counter(), 0
    for epoch in range(EPOCHS):
        changed = epoch_of(padded, flipped, epoch)
        network[0].bias.requires_grad_(epoch < BIAS_EPOCHS)
        for rows in torch.randperm(len(images)).split(BATCH_SIZE):
            left = 1 - step / (EPOCHS * steps_per_epoch)
            for group, rate in zip(optimizers[0].param_groups, first):
                group['lr'] = rate * left
            optimizers[0].param_groups[0]['lr'] = BIAS_RATE * max(
                0., 1 - step / (BIAS_EPOCHS * steps_per_epoch))
            optimizers[1].param_groups[0]['lr'] = MUON_RATE * left
            with torch.autocast('cpu', torch.bfloat16):
                logits = network(changed[rows].contiguous(memory_format=torch.channels_last))
            loss = functional.cross_entropy(logits.float(), labels[rows], label_smoothing=.2,
                                            reduction='sum')
            network.zero_grad()
            loss.backward()
            for optimizer in optimizers:
                optimizer.step()
            step += 1
        print(f'epoch {epoch + 1}/{EPOCHS}: loss {loss.item() / BATCH_SIZE:.4f}, '
              f'{time.perf_counter() - start:.1f} s', flush=True)
    return time.perf_counter() - start


@torch.no_grad()
def accuracies(network, images, labels):
    """Return the accuracy without and with averages over flips and shifts by one pixel."""
    network.eval()

    def logits(batch):
        with torch.autocast('cpu', torch.bfloat16):
            return network(batch.contiguous(memory_format=torch.channels_last)).float()

    def both(batch):
        return (logits(batch) + logits(batch.flip(-1))) / 2

    correct = [0, 0]
    for batch, expected in zip(images.split(BATCH_SIZE), labels.split(BATCH_SIZE)):
        moved = functional.pad(batch, (1,) * 4, 'reflect')
        views = both(moved[:, :, :32, :32]) + both(moved[:, :, 2:, 2:])
        for i, output in enumerate((logits(batch), both(batch) / 2 + views / 4)):
            correct[i] += int((output.argmax(1) == expected).sum())
    return [count / len(images) for count in correct]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('--results', help='json file to write')
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    images, labels = load('train')
    network = create(images[:5000])
    seconds = train(network, images, labels)
    accuracy, accuracy_tta = accuracies(network, *load('test'))
    result = dict(measure.machine_facts(), torch=torch.__version__, seed=options.seed,
                  train_seconds=round(seconds, 1), accuracy=accuracy, accuracy_tta=accuracy_tta)
    print(f'{seconds:.1f} s, accuracy {accuracy:.4f}, with TTA {accuracy_tta:.4f}', flush=True)
    if options.results:
        files.write_json(options.results, result)


if __name__ == '__main__':
    main()
