"""Train a network of torch_networks as its recipe does, but with a constant learning rate."""

from functools import partial

import torch
from torch.nn import functional
from torch.optim import swa_utils

LEARNING_RATE = 0.01  # small enough for every network to stay finite on its one batch


class Muon(torch.optim.Optimizer):
    """Orthogonalized momentum for the weights of convolutions, which it keeps at a fixed norm.

    https://kellerjordan.github.io/posts/muon/, as Muon of permafrost.training; `dtype` is that of
    the iteration.
    """

    def __init__(self, parameters, lr, momentum, dtype):
        super().__init__(parameters, dict(lr=lr, momentum=momentum, dtype=dtype))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            lr, momentum = group['lr'], group['momentum']
            for weights in group['params']:
                state = self.state[weights]
                if not state:
                    state['momentum'] = torch.zeros_like(weights)
                state['momentum'].mul_(momentum).add_(weights.grad)
                matrix = weights.grad.add(state['momentum'], alpha=momentum).flatten(1)
                weights.mul_(len(weights) ** 0.5 / weights.norm())
                weights.sub_(orthogonal(matrix.to(group['dtype'])).view(weights.shape), alpha=lr)


def orthogonal(x, steps=3):
    """Return x [filters, n] orthogonalized by the Newton-Schulz iteration, in its own type."""
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = x.shape[0] > x.shape[1]  # then x.T @ x is the smaller square
    x = x.T if tall else x
    x = x / (x.norm() + 1e-7)
    for _ in range(steps):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return x.T if tall else x


class Recipe:
    """Muon for the convolutions, Nesterov momentum and weight decay for everything else."""

    def __init__(self, network, compute_dtype, momentum=0.9, label_smoothing=0.):
        trained = [value for value in network.parameters() if value.requires_grad]
        self.label_smoothing = label_smoothing
        self.optimizers = [
            Muon([value for value in trained if value.ndim == 4], 0.1, 0.6, compute_dtype),
            torch.optim.SGD([value for value in trained if value.ndim != 4], LEARNING_RATE,
                            momentum=momentum, nesterov=True, weight_decay=5e-4)]

    def weight_decay_loss(self):
        """Return the part of the loss that decays weights, if the optimizer does not."""
        return 0.

    def update(self):
        for optimizer in self.optimizers:
            optimizer.step()


class Tuto(Recipe):
    """Plain SGD, weight decay of two layers in the loss, and averages of the weights."""

    def __init__(self, network, compute_dtype):
        del compute_dtype  # it updates in float32
        self.label_smoothing = 0.
        self.optimizers = [torch.optim.SGD(network.parameters(), LEARNING_RATE)]
        self.decayed = [value for value in network.parameters() if value.ndim == 2][:-1]
        self.network = network
        self.averages = swa_utils.AveragedModel(
            network, multi_avg_fn=swa_utils.get_ema_multi_avg_fn(0.9999))

    def weight_decay_loss(self):
        return sum(250. / value.numel() * value.square().sum() for value in self.decayed)

    def update(self):
        super().update()
        self.averages.update_parameters(self.network)


RECIPES = {'davidnet': partial(Recipe, label_smoothing=0.2),
           'sprint': partial(Recipe, momentum=0.85, label_smoothing=0.2), 'tuto': Tuto}


def runs(name, network, images, labels, compute_dtype, compiled):
    """Return {'forward', 'backward', 'step': function that runs it on the batch, for the loss}."""
    recipe = RECIPES.get(name, Recipe)(network, compute_dtype)
    compute_logits = torch.compile(network) if compiled else network

    def forward():
        with torch.autocast('cpu', torch.bfloat16, enabled=compute_dtype != torch.float32):
            logits = compute_logits(images)
        cross_entropy = functional.cross_entropy(logits.float(), labels,
                                                 label_smoothing=recipe.label_smoothing)
        return cross_entropy + recipe.weight_decay_loss()

    def backward():
        for value in network.parameters():
            value.grad = None
        loss = forward()
        loss.backward()
        return loss

    def step():
        loss = backward()
        recipe.update()
        return loss

    return {kind: lambda run=run: run().item() for kind, run in (
        ('forward', forward), ('backward', backward), ('step', step))}
