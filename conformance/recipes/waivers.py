"""Points of coverage that no stream of the suite shows, and why; requirements and clauses that other points stand
for."""

CODE = "a safeguard of the reference decoder's code, which no stream reaches"
BLOCKS = "the reference decoder works in blocks of 65536 elements; SPEC knows none"
ENCODER = "the same line serves the encoder, and this way is its own"

# Pattern of point ids (regular expression): reason.
WAIVERS = {
    r"requirement:7\.6\.4:R7\.6\.4-1": "binds who evaluates layers in integers; a decoder does not test it",
    r"requirement:8\.6\.7:R8\.6\.7-2|path:8\.6\.7:.*(_eigenvectors|MAX_ITERATIONS).*":
        "no matrix is known for which the iteration does not end",
    r"path:8\.6\.7:_sweep: square < SMALL_SQUARE:1":
        "no matrix is known for which a sweep comes apart: off-diagonals of that size are 0 before",
    r"path:8\.6\.7:(_signed: u\.size|_tridiagonalise: m):0": "a matrix to be decomposed has elements (R7.7.1-9)",
    r"(requirement|clause|path):8\.9.*": "concerns the writing of source files, the contract asks for tensors",
    r"branch:6\.5:i < file_count.*:none": "file_count is at least 1, which is checked before",
    r"branch:6\.7\.1:c < component_count:none": "every representation has a component",
    r"path:7\.11:.*STREAM_END_SIZE.*": CODE,
    r"path:7\.6\.2:check_layer_tensor: v\.reading:0": ENCODER,
    r"path:8\.7\.1:_predict: add.*:0": ENCODER,
    r"path:9\.[34]\.[34]:_levels: abs\(k\) > LEVEL_MAX:1": ENCODER,
    r"path:9\.[34]\.[34]:_levels: cols:0":
        "a segment of no words takes nothing from a payload (8.3), so it is not decoded",
    r"path:9\.5\.2:format_of: exponents\.shape\[1\] == cols:0": CODE,
    r"path:8\.6:exact_product: left\.shape.*:1": CODE,
    r"path:8\.5\.2:(_round_bits: exponent == 2047:1|_round_to_integer: np\.isfinite.*:0)":
        "values that are rounded to other types than float64 are finite",
    r"(path:9\.1\.3:code_bypass: min\(quotient.*:second|coder:9\.1\.3:code // range above the chunk)":
        "only in damaged payloads (9.1.3), where any error is right",
    r"path:9\.7\.1:decode_huffman: (min\(CHUNK.*|.*state\[.*)": BLOCKS,
    r"path:9\.12\.7:decode_four: (i < CHUNK_ELEMENTS.*|not plane\.by_exponent):0":
        "words of a chunk that end with its last symbol run out before it: the loop of single chunks ends it",
    r"path:9\.7\.4:decode_entries: (base <= position < end:1|position < end.*:0)": BLOCKS,
    r"path:9\.7\.3:(_read_lengths: (bit|k) .*|_read_symbols: more < 0):1":
        "another way to errors of R9.7.3-1 and R9.7.3-2, which have streams",
    r"path:9\.4\.3:(_code: _clip.*SQUASH_LIMIT|_trained: .*WEIGHT_LIMIT)\):(below|above)":
        "not met by a hundred thousand levels of any distribution tried: the weights of the mixer stay near one third",
    r"coder:9\.1\.4:carry through two 0xFF or more":
        "once in about 2^17 bytes, and the encoder's alone: a decoder sees no carry",
    r"context:9\.4:(A place:65|C scale:(1|5|9|10|12|112|115))=[01]":
        ("not met by the streams of CM yet; context:9.3:place shows the same buckets with either bin, 9.4 their "
         "neighbours"),
    r"rounding:8\.5\.2:float64: -0": "no process gives -0 as a float64: products are exact, and -0 + 0 is +0",
    r"limit:7\.7:decoding work:max": "takes 18 tensors of 2^22 words; x-r7_7-1-work passes the limit, p-work keeps it",
    r"rounding:8\.5\.2:(int64: greatest|uint64: greatest)":
        "2^63 - 1 and 2^64 - 1 are no float64 values, so nothing is rounded to them",
}

# Requirement without an error code, or clause without points of its own: a point that shows it.
SHOWN_BY: dict[str, str] = {
    "R8.1-1": "value:6.3:profile:BASELINE", "R8.1-2": "path:9.1.4:finish: r.code < RANGE_MIN:1",
    "R8.5-1": "rounding:8.5:UNIFORM: subnormal", "R9.3-2": "combination:7.7.3:joined UNIFORM CC",
    "4.2": "rounding:8.5:UNIFORM: tie to even below", "9.9.3": "combination:7.7.3:NONE DIRECT NONE DEFLATE",
    "6.1": "unit:7.1:MODEL_END STREAM_END", "6.2": "unit:7.2:TOPOLOGY DEFLATE", "6.11": "unit:7.2:STREAM_END PLAIN",
    "7.4.1": "value:6.4.1:external_flag:1", "7.5.1": "range:6.5.1:segment_count:positive",
    "7.6.1": "value:6.6.1:activation_flag:1", "7.6.4": "value:6.6.4:activation_signed_flag:1",
    "7.7.6": "range:6.7.6:fixed_point_width:max", "7.7.7": "range:6.7.7:zero_index:max",
    "7.7.8": "value:6.7.8:word_sign_mode:1", "7.7.9": "value:6.7.9:level_bytes_log2:3",
    "8.3": "value:6.7.1:column_scan_flag:1", "8.4.1": "combination:7.7.3:INTRA DIRECT NONE CC",
    "8.4.2": "combination:7.7.3:INTRA DIRECT NONE CC", "8.5.3": "rounding:8.5:UNIFORM: subnormal",
    "8.5.6": "combination:7.7.3:NONE DIRECT CODEBOOK CC", "8.5.7": "combination:7.7.3:NONE DIRECT GRID CC",
    "8.5.8": "combination:7.7.3:NONE DIRECT DECIMAL CC", "8.5.9": "combination:7.7.3:NONE DIRECT FIXED_POINT CC",
    "8.5.10": "combination:7.7.3:NONE DIRECT INTEGER_CODEBOOK CC",
    "8.6.1": "combination:7.7.3:NONE LOW_RANK UNIFORM CC", "8.6.2": "combination:7.7.3:INTRA MAPPING UNIFORM CC",
    "8.6.3": "combination:7.7.3:INTRA AUGMENTATION UNIFORM CC",
    "8.6.4": "combination:7.7.3:NONE LOW_RANK_UPDATE UNIFORM CC",
    "8.6.6": "combination:7.7.3:NONE LOW_RANK_UPDATE UNIFORM CC", "9.1.1": "coder:9.1.2:range = 2^32 - 1",
    "9.3.4": "context:9.3:node:sig 0=1", "9.4.2": "context:9.4:A node:sig 0=1",
    "9.5.2": "context:9.5:classes by set:0=1", "9.5.7": "context:9.5:classes by set:0=1",
}
