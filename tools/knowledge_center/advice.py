"""The best prediction model among all stored (S1), by the tools that choose the root of a set (S2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from refcodec import Config, Model, OmcError, encode
from refcodec.encoder.sets.coding_order import UNSHARED_NATS, Relative
from refcodec.encoder.sets.laplacian import kl_histogram

from .errors import CenterError, one_error
from .index import Identity

if TYPE_CHECKING:
    from .store import Store

LOOKED_AT = 32              # stored models, those of the same structure first
ESTIMATED = 8               # of them, the nearest by Kullback-Leibler distance
CODED = 3                   # of them, those of the smallest estimates
WORTH = 0.98                # a reference must save two percent


@dataclass(frozen=True)
class Candidate:
    """A stored model as a reference.  distance: nats per element.  estimate: bytes, by coding samples.

    size: bytes of the real stream, None if it was not coded.  names: versions that are this model.
    """

    model: int
    names: list[str]
    distance: float
    estimate: float
    size: int | None


def kl_distance(reference: Model, model: Model) -> float:
    """Mean divergence in nats per float element of a model from a reference, tensor by tensor (as sets/plan.py)."""
    others = {t.name: t for t in reference.tensors if t.dtype.kind == "f" and t.size}
    nats, elements = 0.0, 0
    for tensor in model.tensors:
        if tensor.dtype.kind == "f" and tensor.size:
            partner = others.get(tensor.name)
            shared = partner is not None and partner.shape == tensor.shape
            nats += tensor.size * (kl_histogram(tensor.array, partner.array) if shared else UNSHARED_NATS)
            elements += tensor.size
    return nats / max(1, elements)


class Estimates:
    """Lossless sizes of a model's tensors in bytes, by coding samples (S2): by itself, or from a reference."""

    def __init__(self, model: Model):
        self.own = Relative(model, Config(), None)
        self.alone = [self.own.intra_bits(k) for k in range(len(model.tensors))]

    def bytes(self, reference: Model | None = None) -> float:
        """Each tensor from the reference or by itself, whichever is smaller."""
        if reference is None:
            return sum(self.alone) / 8
        other = Relative(reference, Config(), None)
        return sum(min(bits, self.own.inter_bits(k, other)) for k, bits in enumerate(self.alone)) / 8


def candidates(store: Store, model: Model, identity: Identity, coded: int = CODED) -> list[Candidate]:
    """Stored models that predict this one, the best first; the model itself is none of them.

    All are compared by distributions, the nearest by coding samples, and the best `coded` of those by real streams.
    """
    with one_error():
        own = store.index.model_id(identity)
        names: dict[int, list[str]] = {}
        for v in store.index.versions():
            names.setdefault(v.model, []).append(v.name)
        found = []
        for number in store.index.candidates(identity.structure, LOOKED_AT):
            if number == own:
                continue
            try:
                found.append((kl_distance(store.rebuild(number), model), number))
            except (CenterError, OmcError):           # what cannot be rebuilt cannot predict
                continue
        near = sorted(found)[:ESTIMATED]
        sizes = Estimates(model)
        estimates = sorted((sizes.bytes(store.rebuild(n)), distance, n) for distance, n in near)
        made = [Candidate(n, names.get(n, []), distance, estimate, _coded_size(store, model, n) if k < coded else None)
                for k, (estimate, distance, n) in enumerate(estimates)]
    return sorted(made, key=lambda c: (c.size is None, c.size or c.estimate))


def best_reference(store: Store, model: Model, identity: Identity) -> int | None:
    """Number of the stored model with the smallest estimate, None if no one saves two percent."""
    found = candidates(store, model, identity, coded=0)
    return found[0].model if found and found[0].estimate < WORTH * Estimates(model).bytes() else None


def _coded_size(store: Store, model: Model, reference: int) -> int:
    return len(encode(model, Config(threads=store.threads), [store.rebuild(reference)]))
