"""PyTorch, eager or compiled, channels_last, on all cores; see server.serve_training.

In bfloat16 it computes whatever its autocast considers safe, not only convolutions.
"""

import contextlib

import numpy as np
import torch

from benchmarks.runtimes import server, torch_networks, torch_training


@contextlib.contextmanager
def load(request):
    name = request['load']
    network = torch_networks.NETWORKS[name]().to(memory_format=torch.channels_last)
    images, labels = server.batch(request)
    images = torch.from_numpy(images).permute(0, 3, 1, 2)  # which is channels_last
    dtype = getattr(torch, request['compute_dtype'])
    runs = torch_training.runs(name, network, images, torch.from_numpy(labels), dtype,
                               request['compiled'])
    left, right = (torch.from_numpy(matrix).to(dtype) for matrix in server.matrices())

    def product():
        torch.mm(left, right)

    yield ({'params': sum(value.numel() for value in network.parameters())},
           dict(runs, product=product))


def logits(request):
    """Compare the logits with those of the file: the largest difference, by the largest logit."""
    network = torch_networks.NETWORKS[request['logits']]().eval()
    with np.load(request['path']) as file:
        torch_networks.set_weights(network, [file[key] for key in sorted(file) if key[0] == 'w'])
        images = torch.from_numpy(file['images']).permute(0, 3, 1, 2)
        with torch.no_grad():
            output = network(images).numpy()
        return {'difference': float(np.abs(output - file['logits']).max()
                                    / np.abs(file['logits']).max())}


server.serve_training(torch.__version__, load, logits)
