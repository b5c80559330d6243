"""Words without loss at the speed of a disk: bins, structure and differences are chosen by samples (informative).

Context coding (CC) knows the scale of a row and of a column and finds what comes again; bins decode twenty times faster
and take as many bytes where a matrix is large and does not repeat itself.
"""

from __future__ import annotations

import numpy as np

from ..bitstream.structures import Component, EntropyMode, Quantiser
from ..compiler import at, compiled, signed
from ..entropy.modes import Whole, whole_array
from ..entropy.words import choose_parameters, difference, estimate_bits
from .candidate import Candidate, Prediction
from .tensor_job import TensorJob

REPEATS_TO = 1 << 22        # elements: of more, nobody wants to wait for CC
REPEATED = 0.25             # part of a sample that comes again, from which CC is tried
WORTH = 0.98                # what CC may take of the bytes of bins then,
WORTH_LARGE = 0.75          # of a large model, for which its time of decoding counts as well,
WORTH_BEST = 0.99           # and where size is what is asked for
SAMPLE = 1 << 14            # elements that say whether a difference pays,
PIECE = 1 << 10             # so many in a row
SCANNED_MIN, SCANNED_MAX = 1 << 13, 1 << 16         # elements in which repeats are looked for, an eighth if it may be
SEEN_BITS = 14              # of a place in the table of runs
LEAST_RUNS = 16             # that come again; fewer are chance


def bins_component() -> Component:
    """Words in bins."""
    return Component(Quantiser.NONE, EntropyMode.BINS)


def words_in_bins(job: TensorJob) -> tuple[Candidate, bool]:
    """The words of a tensor in bins, or their differences from the prediction that a sample finds best; and True where
    most words are those of the prediction, so that nothing else can take fewer bytes."""
    prediction, unchanged = _best_prediction(job)
    return job.direct(bins_component(), job.matrix(job.words), prediction), unchanged


def mostly_unchanged(job: TensorJob) -> Prediction | None:
    """The prediction from which fewest words differ, if most do not."""
    changed = [int(np.count_nonzero(job.words != prediction.words)) for prediction in job.predictions]
    return job.predictions[changed.index(min(changed))] if changed and 2 * min(changed) < job.words.size else None


def _best_prediction(job: TensorJob) -> tuple[Prediction | None, bool]:
    if not job.predictions:
        return None, False
    pieces = max(1, job.words.size // PIECE)
    wanted = min(pieces, SAMPLE // PIECE)
    chosen, dtype = np.arange(wanted) * pieces // wanted, job.dtype

    def sample(words: np.ndarray) -> np.ndarray:
        return np.concatenate([words[k * PIECE : (k + 1) * PIECE] for k in chosen])

    def size(integers: np.ndarray, predictor: np.ndarray | None = None) -> int:
        return len(whole_array(EntropyMode.BINS).encode(Whole(bins_component(), dtype, predictor), integers))

    words = sample(job.words)
    bases = [sample(prediction.words) for prediction in job.predictions]
    changed = [int(np.count_nonzero(words != base)) for base in bases]
    if 2 * min(changed) < words.size and 4 * min(changed) < np.count_nonzero(words):
        return job.predictions[changed.index(min(changed))], True
    best, least = None, size(words)
    for prediction, base in zip(job.predictions, bases):
        found = size(difference(words, base, dtype), base)
        if found < least:
            best, least = prediction, found
    return best, False


def may_repeat(job: TensorJob, most: float) -> bool:
    """True if context coding is worth a trial: a tensor that does not take long, seems to repeat itself, and of a large
    model a part tells that `most` bytes will do."""
    dtype, words = job.dtype, job.words
    if not (dtype.kind == "f" and dtype.bits >= 16 and words.size <= REPEATS_TO and repeats_itself(words)):
        return False
    if not job.large_model:
        return True
    matrix = job.matrix(words)
    parameters = choose_parameters(matrix, dtype, trials=False)
    parameters.repeats = 1
    return estimate_bits(matrix, None, dtype, parameters) < 8 * most


def repeats_itself(words: np.ndarray) -> bool:
    """True if much of a sample of words (flat, of floats of 16 bits or more) came before, in either direction."""
    size = min(max(len(words) // 8, SCANNED_MIN), SCANNED_MAX)
    first = max(0, (len(words) - size) // 2)
    part = words[first : first + size]
    part = part.view(np.int64) if part.dtype == np.uint64 else part
    runs, again = _repeated(part, (1 << 8 * part.dtype.itemsize - 1) - 1, np.zeros(1 << SEEN_BITS, np.int64))
    return bool(again > max(REPEATED * runs, LEAST_RUNS))


@compiled
def _repeated(words: np.ndarray, magnitude: int, seen: np.ndarray) -> tuple[int, int]:
    # Runs of three magnitudes, one in 16, chosen by what they are and not by where: (how many, how many came before).
    # seen: room, zeros. A run and its reverse are the same; one of zeros, or of one magnitude, tells nothing.
    runs = again = 0
    for i in range(2, len(words)):
        a, b, c = (signed(words[at(i - 2)]) & magnitude, signed(words[at(i - 1)]) & magnitude,
                   signed(words[at(i)]) & magnitude)
        ends, middle = (a ^ a >> 31) + (c ^ c >> 31) & 0x7FFFFFFF, (b ^ b >> 31) & 0x7FFFFFFF
        key = (ends * 0x5E3779B1 + middle * 0x45EBCA6B) & 0x3FFFFFFFFFFFFFFF
        if key >> 40 & 15 == 0 and a and b and c and not (a == b and b == c):
            slot = at((key ^ key >> 24) & (len(seen) - 1))
            runs += 1
            if seen[slot] == key:
                again += 1
            seen[slot] = key
    return runs, again
