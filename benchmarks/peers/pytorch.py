"""PyTorch as a peer that trains: eager, channels_last, all cores; see serve.serve_runs.

In bfloat16 it computes what its own autocast holds to be safe in that, and not only convolutions.
"""

import contextlib

import numpy as np
import serve
import torch
import torch_networks
import torch_training


@contextlib.contextmanager
def load(request):
    name = request['load']
    network = torch_networks.NETWORKS[name]().to(memory_format=torch.channels_last)
    images, labels = serve.batch(request)
    images = torch.from_numpy(images).permute(0, 3, 1, 2)  # which is channels_last
    found = torch_training.runs(name, network, images, torch.from_numpy(labels),
                                getattr(torch, request['precision']))
    yield {'params': sum(value.numel() for value in network.parameters())}, dict(
        found, product=product())


def product():
    left, right = map(torch.from_numpy, serve.matrices())

    def run():
        torch.mm(left, right)

    return run


def agree(request):
    """How far the logits are from ours, by the largest of them, with the same weights."""
    network = torch_networks.NETWORKS[request['agree']]().eval()
    with np.load(request['path']) as ours:
        torch_networks.take(network, [ours[key] for key in sorted(ours) if key[0] == 'w'])
        images = torch.from_numpy(ours['images']).permute(0, 3, 1, 2)
        with torch.no_grad():
            logits = network(images).numpy()
        return {'difference': float(np.abs(logits - ours['logits']).max()
                                    / np.abs(ours['logits']).max())}


serve.serve_runs(torch.__version__, load, agree)
