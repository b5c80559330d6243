"""What `import refcodec` offers. Wherever a model is taken, so is what stands for one (see `encode`).

The codec is loaded when a function is first called, so that importing these is quick.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from .bitstream.structures import Bytes
    from .decoder import Progress
    from .encoder.config import Config
    from .inputs import ModelLike, ModelsLike
    from .model import Model
    from .opened import OpenStream

Path = str | os.PathLike[str]


def encode(model: ModelsLike, config: Config | None = None, references: ModelsLike = (), *,
           progress: Progress | None = None) -> bytes:
    """Encode a model, or several, into a stream; without loss unless the configuration says otherwise.

        encode("v2.onnx")                                   # a model file: ONNX, safetensors, npz, npy; or a stream
        encode({"w": array})                                # arrays by name, of the types of numpy and ml_dtypes
        encode("v2.onnx", references="v1.onnx")             # an update
        encode(["v1.onnx", "v2.onnx"], Config(snr=40))      # several models in one stream

    model:      a Model; a path; the bytes of a stream; a mapping of names to arrays; or several of these. Versions are
                coded in order, each predicted from the one before where that helps; a set (config.root) in the order
                that its plan gives, its root first. Several that are all given by paths take the names of their files.
    config:     what is asked for; None: no loss, all defaults.
    references: models that the decoder will have, given like `model`; used where they help.
    progress:   called with (bytes done, bytes in all, name) after each tensor.

    Returns the stream (SPEC 6).
    Raises FormatError for a file or array that cannot be read, ConfigError for what cannot be done (e.g. a rate that
    cannot be reached), TypeError for what is no model.
    """
    from .encoder import encoding
    from .inputs import as_models

    return encoding.encode(as_models(model), config, as_models(references), progress=progress)


def encode_to(sink: BinaryIO, model: ModelsLike, config: Config | None = None, references: ModelsLike = (), *,
              progress: Progress | None = None) -> None:
    """encode() into a binary file object, tensor by tensor: memory follows the largest tensor, not the model."""
    from .encoder import encoding
    from .inputs import as_models

    encoding.encode_to(sink, as_models(model), config, as_models(references), progress=progress)


def decode(stream: Bytes | Path, references: ModelsLike = (), *, model: int | str = -1,
           threads: int | None = None, max_memory: int | None = None, max_work: int | None = None,
           max_output: int | None = None, allow_prefix: bool = False, progress: Progress | None = None) -> Model:
    """Decode a stream into the model that was coded, verified by its digests (SPEC 8).

    stream:       its bytes, or the path of its file.
    references:   models that an update refers to, given like the model of encode().
    model:        which model of a stream of several: its number from 0 (negative: from the end), or its name. By
                  default the last, in its finest quality.
    threads:      over tensors, their pieces and entry points; None: as many as there are processors. The result is the
                  same for any number.
    max_memory:   bytes that may be held at a time, the model included.  max_work: units of work (SPEC A.2).
    max_output:   bytes of the model.  None: what follows from the size of the stream and of the references, so that
                  honest streams pass and bombs do not (refcodec.Budget).
    allow_prefix: take a stream that was cut after a whole model or quality layer.
    progress:     called with (bytes done, bytes in all, name) after each tensor.

    Returns a Model with all its tensors in memory. No partial model is returned.
    Raises OmcError with code, unit and bit (SPEC annex B): ContainerError, StreamSyntaxError, SemanticsError,
    EntropyError, ReconstructionError; FormatError for a file that cannot be read; ConfigError for a name of no model.
    """
    from .budget import Budget
    from .decoder import StreamDecoder
    from .inputs import as_models
    from .parallel import processors

    budget = Budget(max_memory, max_work, max_output)
    with StreamDecoder(stream, as_models(references, budget), threads=threads or processors(), budget=budget,
                       allow_prefix=allow_prefix) as decoder:
        return decoder.model(model, progress)


def transcode(stream: Bytes | Path, entropy: str, references: ModelsLike = (), *, threads: int | None = None,
              max_memory: int | None = None, max_work: int | None = None, max_output: int | None = None,
              progress: Progress | None = None) -> bytes:
    """The same stream in another entropy mode: every decoded word and every digest stays.

        transcode("model.omc", "bins")                      # decodes fastest
        transcode("model.omc", "cc")                        # smaller where values repeat

    stream:     its bytes, or the path of its file.
    entropy:    an entropy mode of SPEC 7.7.3 in small letters. What it cannot code stays as it is: tensors that share a
                unit, and levels of a trellis between 'bins' and the other modes.
    references: models that an update refers to, given like the model of encode().
    threads, max_memory, max_work, max_output, progress: as of decode().

    Raises what decode() raises, and ConfigError for a mode that does not exist.
    """
    from . import transcoding
    from .bitstream.structures import EntropyMode
    from .budget import Budget
    from .errors import ConfigError
    from .inputs import as_models
    from .parallel import processors

    if entropy.upper() not in EntropyMode.__members__:
        raise ConfigError("BAD_CONFIG", f"there is no entropy mode {entropy!r}; there are "
                          f"{', '.join(mode.name.lower() for mode in EntropyMode)}")
    budget = Budget(max_memory, max_work, max_output)
    return transcoding.transcode(stream, EntropyMode[entropy.upper()], as_models(references, budget),
                                 threads=threads or processors(), budget=budget, progress=progress)


def upgrade(stream: Bytes | Path, references: ModelsLike = (), *, threads: int | None = None,
            max_memory: int | None = None, max_work: int | None = None, max_output: int | None = None,
            progress: Progress | None = None) -> bytes:
    """A stream that refcodec 0.1 wrote as one of this version: other digests (SPEC 8.8), payloads byte for byte.

    stream:     its bytes, or the path of its file.
    references: models that an update refers to, given like the model of encode(): their digests are others now.
    threads, max_memory, max_work, max_output, progress: as of decode().

    Raises what decode() raises: the stream is decoded, and verified by its own digests. UNSUPPORTED_VERSION for one of
    another version than 0.1.
    """
    from . import upgrading
    from .budget import Budget
    from .inputs import as_models
    from .parallel import processors

    budget = Budget(max_memory, max_work, max_output)
    return upgrading.upgrade(stream, as_models(references, budget), threads=threads or processors(), budget=budget,
                             progress=progress)


def open(stream: Bytes | Path, references: ModelsLike = (), *, model: int | str = -1,
         threads: int | None = None, max_memory: int | None = None, max_work: int | None = None,
         max_output: int | None = None, allow_prefix: bool = False) -> OpenStream:
    """Open a stream for its tensors, without decoding them: a mapping of names to numpy arrays.

        with refcodec.open("model.omc") as tensors:
            array = tensors["fc1.weight"]                   # decoded and verified now, and nothing else is
            rows = tensors.get_slice("fc1.weight")[:16]     # where the coding allows it, these rows alone
            tensors.read_into("fc2.weight", out)            # into an array, or a tensor of torch, that is there

    The arguments and the errors are those of decode(); an array's errors are raised when it is read. max_work and
    max_output are of each access by itself.
    """
    from .budget import Budget
    from .inputs import as_models
    from .opened import OpenStream
    from .parallel import processors

    budget = Budget(max_memory, max_work, max_output)
    return OpenStream(stream, as_models(references, budget), model=model, threads=threads or processors(),
                      budget=budget, allow_prefix=allow_prefix)


def load(path: Path) -> Model:
    """The model of a file: ONNX, safetensors, npz or npy, told by the name's ending or else by its first bytes.

    Arrays are read from the file at each access (Tensor.array), so the file has to stay.
    Raises FormatError: MISSING_FILE; UNSUPPORTED_TYPE, with the way to convert it where one is known; what is damaged.
    """
    from . import formats

    return formats.load(path)


def save(model: ModelLike, path: Path) -> None:
    """Write a model to a file, tensor by tensor; nothing is left at `path` if it fails.

    model: as of encode().
    path:  its ending says the format. That of the file that the model came from (ONNX, safetensors) gives the same file
           back, byte for byte where nothing was lost (SPEC 8.9); a model of several files (ONNX with external data)
           needs a folder, new or empty. .safetensors, .npz and .npy (one tensor) take the tensors of any model.

    Raises FormatError (TARGET: it cannot be written there), and what reading a tensor raises.
    """
    from . import formats
    from .inputs import as_model

    formats.save(as_model(model), path)
