"""Prediction models that nobody trained: the means of clusters of stored models (S1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from refcodec import Model, Tensor

from .errors import CenterError, one_error

if TYPE_CHECKING:
    from .index import Version
    from .store import Store

SAMPLE = 1 << 12            # elements of a tensor by which models are clustered
ROUNDS = 50


def generate(store: Store, name: str, sources: Sequence[str], clusters: int = 1) -> list[Version]:
    """Adds the means of clusters of the sources: NAME, or NAME.1, NAME.2, ... of several; their lineage is the cluster.

    Sources must have the same tensors.  Raises CenterError BAD_REQUEST, NOT_FOUND, CONFLICT.
    """
    if not 1 <= clusters <= len(sources) or len(sources) < 2:
        raise CenterError("BAD_REQUEST", f"{clusters} clusters of {len(sources)} versions: take two versions or more, "
                          "and no more clusters than versions")
    with one_error():
        models = [store.model(source) for source in sources]
        structures = {store.index.identity(store.version(source).model).structure for source in sources}
        if len(structures) > 1:
            raise CenterError("BAD_REQUEST", "the versions do not have the same tensors (names, types, shapes): "
                              "they have no mean")
        labels = cluster(np.stack([sketch(model) for model in models]), clusters)
        made = []
        for k in range(clusters):
            members = [n for n, label in enumerate(labels) if label == k]
            mean = mean_of([models[n] for n in members])
            version, _ = store.add(name if clusters == 1 else f"{name}.{k + 1}", mean, kind="generated",
                                   parents=[sources[n] for n in members],
                                   note=f"mean of {len(members)} versions, cluster {k + 1} of {clusters}")
            made.append(version)
    return made


def mean_of(models: Sequence[Model]) -> Model:
    """By elements in float64, rounded to the tensor's type; what is no float, or not finite, is the first model's."""
    first = models[0]
    tensors = []
    for k, tensor in enumerate(first.tensors):
        array = tensor.array
        if tensor.dtype.kind == "f" and tensor.size:
            mean = np.zeros(tensor.shape, np.float64)
            for model in models:
                mean += model.tensors[k].array.astype(np.float64)
            mean /= len(models)
            array = np.where(np.isfinite(mean), mean, array.astype(np.float64)).astype(tensor.dtype.numpy)
        tensors.append(Tensor(tensor.name, array, dtype=tensor.dtype, shape=tensor.shape))
    return Model(tensors, "mean", first.layers)


def sketch(model: Model) -> np.ndarray:
    """A vector by which models are compared: evenly spaced elements of every float tensor, over its mean magnitude."""
    parts = [np.zeros(1)]
    for tensor in model.tensors:
        if tensor.dtype.kind == "f" and tensor.size:
            flat = np.nan_to_num(tensor.array.reshape(-1).astype(np.float64), posinf=0.0, neginf=0.0)
            parts.append(flat[:: -(-flat.size // SAMPLE)])
    return np.concatenate(parts)


def cluster(points: np.ndarray, count: int) -> np.ndarray:
    """Cluster 0..count-1 of each row, none empty: k-means from rows that are far from each other, without chance."""
    distances = np.square(points - points.mean(axis=0)).sum(axis=1)
    centres = [points[distances.argmin()]]
    while len(centres) < count:
        nearest = np.min([np.square(points - c).sum(axis=1) for c in centres], axis=0)
        centres.append(points[nearest.argmax()])
    labels = np.zeros(len(points), np.int64)
    for _ in range(ROUNDS):
        found = np.array([np.square(points - c).sum(axis=1) for c in centres]).argmin(axis=0)
        if len(set(found)) < count or np.array_equal(found, labels) and _:
            break
        labels = found
        centres = [points[labels == k].mean(axis=0) for k in range(count)]
    if len(set(labels)) < count:                     # equal models: any division will do
        labels = np.minimum(np.arange(len(points)), count - 1)
    return labels
