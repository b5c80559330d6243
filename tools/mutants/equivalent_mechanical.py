"""Of mechanical.py: functions that no decoder of streams runs, and faults that no stream can show."""

from __future__ import annotations

ENCODER_ONLY: set[str] = {"contexts", "indices", "step_value"}

# 'function: statement -> statement' (a regular expression) to the reason.
EQUIVALENT: dict[str, str] = {
    r"\(module\): (HEADER_BYTES|RUN) = .*": "how much is read, or looked at, at a time",
    r"(Coded|PlaneHeader): \w+: int = 0 -> .*": "a default, in whose place a value is given wherever it matters",
    r"_take: if self\.bit < 0: -> if self\.bit <(= 0| 1):": "no element ends at bit 0",
    r"read_header: header = Header\(.*": "planes that are replaced before they are used",
    r"_lengths: .*raw_bits \+ 7 >> 3.* -> .*raw_bits \+ 6 >> 3.*": "raw bits of a chunk are a multiple of four",
    r"sizes: .*raw_bits \+ 7\) // 8.* -> .*raw_bits \+ 6\) // 8.*": "raw bits of a chunk are a multiple of four",
    r"_is_raw: .* -> (return plane\.raw_bits == 8.*|.*raw_bits != 8.*|.*base == 1.*|.*narrow != 1.*|.*bins != 1.*)":
        "tails are joined one by one, to the same values, where they are not known to be raw",
    r"_chunk: .*signed\(1\).* -> .*signed\(2\).*": "a literal that is true",
    r"_chunk: if tails\[0\] >= 0: -> if tails\[1\] >= 0:": "both begin somewhere, or neither",
    r"(_chunk: q = tails\[1\] \+ n|decode_chunks: (if status != OK:|o \+= CHUNK_ELEMENTS)) -> .*":
        "the decoder of a whole array takes a chunk at a time",
}
