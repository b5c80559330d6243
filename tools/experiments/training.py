"""Training on one core with torch; everything random has a seed."""

from __future__ import annotations

from collections.abc import Collection

import torch
from data import Images
from networks import NORM_EPSILON, Network, Parameters, forward, initial
from torch.nn import functional

STEPS = 40                              # of an epoch, about
SMALLEST_BATCH = 20
FINAL_SHARE = 0.02                      # of the rate, at the end of its cosine


class TorchOps:
    """The operations of networks.forward on torch tensors. A norm whose scale is frozen keeps its statistics."""

    dense, relu = staticmethod(functional.linear), staticmethod(functional.relu)

    @staticmethod
    def conv(x, weight, bias, padding):
        return functional.conv2d(x, weight, bias, padding=padding)

    @staticmethod
    def norm(x, scale, bias, mean, variance):
        return functional.batch_norm(x, mean, variance, scale, bias, training=scale.requires_grad, eps=NORM_EPSILON)

    @staticmethod
    def pool(x):
        return functional.max_pool2d(x, 2)


def train(network: Network, start: Parameters, data: Images, epochs: int, rate: float, seed: int,
          only: tuple[str, ...] = ("",), keep: Collection[int] = (), sparse: bool = False) -> dict[int, Parameters]:
    """Adam on cross entropy, its rate falling as a cosine, from `start`.

    only: prefixes of the tensors that move.  keep: epochs after which the parameters are kept, beside the last.
    sparse: what is zero at the start stays zero.  Returns parameters by epoch (1 is the first).
    """
    torch.set_num_threads(1)
    shuffle = torch.Generator().manual_seed(seed)
    moving = {name: name.startswith(only) and not name.endswith((".mean", ".variance")) for name in start}
    values = {name: torch.tensor(x, requires_grad=moving[name]) for name, x in start.items()}
    masks = {name: torch.from_numpy(start[name] != 0) for name in start if sparse and start[name].ndim > 1}
    optimiser = torch.optim.Adam([v for v in values.values() if v.requires_grad], lr=rate)
    batch_size = max(SMALLEST_BATCH, len(data) // STEPS)
    steps = epochs * -(-len(data) // batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps, rate * FINAL_SHARE)
    inputs, targets = torch.from_numpy(data.images), torch.from_numpy(data.labels)
    kept = {}
    for epoch in range(1, epochs + 1):
        for batch in torch.randperm(len(data), generator=shuffle).split(batch_size):
            optimiser.zero_grad()
            scores = forward(network.layers, values, inputs[batch], TorchOps)
            functional.cross_entropy(scores, targets[batch]).backward()
            optimiser.step()
            schedule.step()
            with torch.no_grad():
                for name, mask in masks.items():
                    values[name] *= mask
        if epoch in keep or epoch == epochs:
            kept[epoch] = {name: v.detach().numpy().copy() for name, v in values.items()}
    return kept


def trained(network: Network, data: Images, epochs: int, rate: float, seed: int) -> Parameters:
    """A network trained from random weights."""
    return train(network, initial(network, seed), data, epochs, rate, seed)[epochs]
