"""What the stream of some models may cost at most (SPEC A.3), before anything is coded: its level follows from it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..bitstream.cost import StreamCost, excess_of, memory_of
from ..bitstream.derive import component_shapes
from ..bitstream.structures import Component, EntropyMode, FactorParameters, Representation, TensorDescriptor
from ..dtypes import DType
from ..fold import Fold
from ..model import Model
from .config import Config
from .config_parts import HybridQuantiser, KMeansQuantiser
from .updates.coder import FACTOR_SIDE

ENTRY_ELEMENTS = 1 << 16       # of an entry point, at least
JOINED_MEMORY = 1 << 23        # of a joined unit as level 1 allows it; higher levels allow a smaller part of theirs
TENSOR_ITEMS = 12              # entries of lists that each tensor has in tensor data and index, at most
INDEX_BYTES, METADATA_BYTES = 24, 1 << 16       # of an entry of the index; of metadata that the encoder adds
DECOMPOSED_BY = {"ml": Representation.MAPPING, "ka": Representation.AUGMENTATION}


def add_model(cost: StreamCost, model: Model, folds: Sequence[Fold], config: Config, predicted: bool,
              layers: int) -> None:
    """Add a model, in whatever modes its tensors will be coded.

    predicted: there are models that it may refer to.  layers: quality layers.
    """
    own = config.own_quantiser
    codebook = own.clusters if isinstance(own, KMeansQuantiser) and own.integers else 0
    cost.largest = max(cost.largest, JOINED_MEMORY)
    for fold, tensor in zip(folds, model.tensors):
        rows, columns = fold.matrix_shape(tensor.shape)
        shape, excess = (rows, columns * tensor.dtype.parts), 0
        for d in _ways(tensor.name, tensor.dtype, shape, config, predicted or layers > 1):
            excess, cost.largest = max(excess, excess_of(d)), max(cost.largest, memory_of(d))
        cost.tensors += layers * excess
        cost.items += layers * (TENSOR_ITEMS + tensor.size * tensor.dtype.parts // ENTRY_ELEMENTS + codebook)
        cost.bodies += layers * INDEX_BYTES
    cost.items += layers * (len(model.metadata) + 16)
    cost.bodies += layers * (sum(len(k.encode()) + len(v) + 16 for k, v in model.metadata.items()) + METADATA_BYTES)


def _ways(name: str, dtype: DType, shape: tuple[int, int], config: Config, predicted: bool
          ) -> Iterator[TensorDescriptor]:
    """Descriptors of what a tensor may become, as far as they tell the cost."""
    count = shape[0] * shape[1]
    for c in (_coded(min(shape), max(shape), flag) for flag in (0, 1)):
        yield TensorDescriptor(word_bytes=dtype.word_bytes, word_count=count, component=[c])
    if not count or dtype.kind != "f" or dtype.parts > 1:
        return
    update, side = config.updating, min(shape)
    if update.kind in DECOMPOSED_BY:
        yield _product(dtype, shape, DECOMPOSED_BY[update.kind], min(update.rank or side, side))
    if name in update.factors:
        yield _product(dtype, shape, update.factors[name].representation, side)
    tried = config.tools.products and predicted and side <= FACTOR_SIDE
    if update.kind is not None or tried or isinstance(config.own_quantiser, HybridQuantiser):
        yield _product(dtype, shape, Representation.LOW_RANK, side)


def _product(dtype: DType, shape: tuple[int, int], representation: int, rank: int) -> TensorDescriptor:
    factor = FactorParameters(factor_rank=rank, gain_count_minus1=min(shape) - 1, selected_count=shape[0] * shape[1])
    d = TensorDescriptor(representation=representation, factor=factor, word_bytes=dtype.word_bytes,
                         word_count=shape[0] * shape[1], row_count=shape[0], column_count=shape[1])
    d.component = [_coded(rows, columns) for rows, columns in component_shapes(d)]
    return d


def _coded(rows: int, columns: int, words_flag: int = 0) -> Component:
    return Component(entropy_mode=EntropyMode.CC, row_count=rows, column_count=columns, words_flag=words_flag,
                     coded_flag=1)
