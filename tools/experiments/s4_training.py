"""Compact refinement (S4): only the free parameters of a method, the biases and the normalisations are trained."""

from __future__ import annotations

import numpy as np
import torch
from data import Images
from networks import Network, Parameters, forward
from s4_methods import Free, Trainable, vectors
from torch.nn import functional
from training import TorchOps

BATCH = 50
VECTOR_RATE = 1e-3
GAIN_FACTOR = 5              # rate of changes of singular values over that of factors: they are larger than weights


def refine(network: Network, deployed: Parameters, made: dict[str, Trainable], data: Images, epochs: int, rate: float,
           seed: int) -> tuple[Free, Parameters]:
    """Adam on cross entropy, its rates falling as a cosine: (trained free arrays, trained biases and normalisations).

    made: the weights under a method (s4_methods.trainables).  rate: of the free parameters.
    """
    torch.set_num_threads(1)
    shuffle = torch.Generator().manual_seed(seed)
    shapes = {name: deployed[name].shape for name in made}
    frozen = {name: {k: torch.from_numpy(v) for k, v in m.frozen.items()} for name, m in made.items()}
    free = {name: {k: torch.tensor(v, requires_grad=True) for k, v in m.free.items()} for name, m in made.items()}
    others = {name: torch.tensor(a, requires_grad=not name.endswith((".mean", ".variance")))
              for name, a in vectors(network, deployed, made).items()}
    optimiser = torch.optim.Adam(_groups(free, others, rate))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs * -(-len(data) // BATCH))
    inputs, targets = torch.from_numpy(data.images), torch.from_numpy(data.labels)
    for _ in range(epochs):
        for batch in torch.randperm(len(data), generator=shuffle).split(BATCH):
            weights = {name: m.build(frozen[name], free[name]).reshape(shapes[name]) for name, m in made.items()}
            scores = forward(network.layers, weights | others, inputs[batch], TorchOps)
            optimiser.zero_grad()
            functional.cross_entropy(scores, targets[batch]).backward()
            optimiser.step()
            schedule.step()
    return {name: _arrays(f) for name, f in free.items()}, _arrays(others)


def _groups(free: dict, others: dict, rate: float) -> list[dict]:
    gains = [v for f in free.values() for k, v in f.items() if k == "t"]
    factors = [v for f in free.values() for k, v in f.items() if k != "t"]
    moving = [v for v in others.values() if v.requires_grad]
    groups = [(factors, rate), (gains, GAIN_FACTOR * rate), (moving, VECTOR_RATE)]
    return [{"params": p, "lr": r} for p, r in groups if p]


def _arrays(tensors: dict[str, torch.Tensor]) -> dict[str, np.ndarray]:
    return {k: v.detach().numpy() for k, v in tensors.items()}
