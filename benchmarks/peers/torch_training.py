"""What trains a network of torch_networks, as its recipe says, but for the schedule of the rate."""

import torch
from torch.nn import functional
from torch.optim import swa_utils

RATE = 0.01  # small enough for every network to stay finite on its one batch


class Muon(torch.optim.Optimizer):
    """Orthogonalized momentum for the weights of convolutions, which it keeps at a norm.

    https://kellerjordan.github.io/posts/muon/, in float32, as permafrost.optimizers.Muon.
    """

    def __init__(self, parameters, rate, momentum):
        super().__init__(parameters, dict(rate=rate, momentum=momentum))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for weights in group['params']:
                self._update(weights, group['rate'], group['momentum'])

    def _update(self, weights, rate, momentum):
        state = self.state[weights]
        if not state:
            state['momentum'] = torch.zeros_like(weights)
        state['momentum'].mul_(momentum).add_(weights.grad)
        matrix = weights.grad.add(state['momentum'], alpha=momentum).flatten(1)
        weights.mul_(len(weights) ** 0.5 / weights.norm())
        weights.sub_(orthogonal(matrix).view(weights.shape), alpha=rate)


def orthogonal(x, steps=3):
    """Newton and Schulz's iteration for x [filters, n], on the smaller of its two squares."""
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    x = x / (x.norm() + 1e-7)
    for _ in range(steps):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return x.T if tall else x


class Recipe:
    """Muon for the convolutions, Nesterov momentum and weight decay for all else."""

    momentum = 0.9
    smoothing = 0.

    def __init__(self, network):
        trained = [value for value in network.parameters() if value.requires_grad]
        self.optimizers = [
            Muon([value for value in trained if value.ndim == 4], 0.1, 0.6),
            torch.optim.SGD([value for value in trained if value.ndim != 4], RATE,
                            momentum=self.momentum, nesterov=True, weight_decay=5e-4)]

    def decay(self):
        """What weight decay adds to the loss, where the optimizer does not have it."""
        return 0.

    def update(self):
        for optimizer in self.optimizers:
            optimizer.step()


class Davidnet(Recipe):
    smoothing = 0.2


class Sprint(Recipe):
    momentum, smoothing = 0.85, 0.2


class Tuto(Recipe):
    """Plain SGD, decay of two layers in the loss, and averages of the weights."""

    def __init__(self, network):
        self.optimizers = [torch.optim.SGD(network.parameters(), RATE)]
        self.decayed = [value for value in network.parameters() if value.ndim == 2][:-1]
        self.network = network
        self.averages = swa_utils.AveragedModel(
            network, multi_avg_fn=swa_utils.get_ema_multi_avg_fn(0.9999))

    def decay(self):
        return sum(250. / value.numel() * value.square().sum() for value in self.decayed)

    def update(self):
        super().update()
        self.averages.update_parameters(self.network)


RECIPES = {'davidnet': Davidnet, 'sprint': Sprint, 'tuto': Tuto}


def runs(name, network, images, labels, precision):
    """{'forward', 'backward', 'step': function that computes it on that batch, gives the loss}."""
    recipe = RECIPES.get(name, Recipe)(network)

    def forward():
        with torch.autocast('cpu', torch.bfloat16, enabled=precision != torch.float32):
            logits = network(images)
        return functional.cross_entropy(logits.float(), labels,
                                        label_smoothing=recipe.smoothing) + recipe.decay()

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
