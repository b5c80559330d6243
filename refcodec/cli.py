"""refcodec: encode, decode, inspect and compare neural-network models (OMC streams).

Exit codes: 0 done; 1 internal error (please report it); 2 wrong use of the command line;
10 the stream is damaged or breaks a rule of SPEC.md; 11 the stream needs a feature, a reference or
memory that is not there; 12 a model file cannot be read or written; 13 the configuration cannot be met.
"""

from __future__ import annotations

import argparse
import json
import os
import sys

from .checker.commands import add_commands

# As in encoder/config.py, which is not loaded for --help; a test compares them.
PRESETS = ("auto", "s1-rp", "s2-qbits", "s3-features", "s4-lra", "s4-ml", "s4-ka", "s4-rm", "s4-lru", "s4-fp",
           "s5-hybrid")
ENTROPY = ("auto", "raw", "cc", "cm", "map", "huffman", "fixed", "deflate", "gzip", "bzip2", "lzma")
QUANTISERS = ("uniform", "rp", "q-bits", "fixed-point", "k-means", "k-means-zero", "integer-k-means", "hybrid")

SYSTEMS = (
    "Published systems, each by one name; 'The systems' in README.md says more. s1-rp: weights cut to RP decimals, "
    "LZMA. s2-qbits: weights rounded, q_bits of 12 decimals dropped, LZMA. Both: with --reference as a difference "
    "of models, with --root as a set. s3-features: activations, without loss or with --step. s4-*: an update of "
    "--reference: lra, a product of two small factors; ml, one factor times the main directions of the old weights;"
    " ka, new singular values and a few new columns; rm, some elements chosen by a seed; lru, one factor times a "
    "random one; fp, filters that are zero are left out (needs no reference). s5-hybrid: low rank, pruning and "
    "fixed point layer by layer, Huffman codes. auto: all tools, the smallest for each tensor.")

EXIT_REJECTED, EXIT_UNSUPPORTED, EXIT_FORMAT, EXIT_CONFIG = 10, 11, 12, 13
UNSUPPORTED_CODES = ("UNSUPPORTED_VERSION", "MISSING_REFERENCE", "RESOURCE_LIMIT")


def parser() -> argparse.ArgumentParser:
    """The command line; every option is explained here and nowhere else."""
    top = argparse.ArgumentParser(prog="refcodec", description=__doc__.splitlines()[0],
                                  epilog="\n".join(__doc__.splitlines()[2:]),
                                  formatter_class=argparse.RawDescriptionHelpFormatter)
    top.add_argument("--version", action="version", version="refcodec 0.1.0 (OMC 0.1)")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    e = commands.add_parser(
        "encode", help="ONNX, safetensors or npz to an OMC stream",
        description="Encode a model. Without --step, --snr or --bits-per-weight nothing is lost: decoding "
        "an ONNX or safetensors file gives back the same file, byte for byte.")
    e.add_argument(
        "input", metavar="INPUT", nargs="+",
        help="model: .onnx, .safetensors or .npz (or .omc, to code it anew); of several, in one stream, each is "
        "predicted from the one before")
    e.add_argument("-o", "--output", required=True, metavar="OUT.omc")
    aim = e.add_mutually_exclusive_group()
    aim.add_argument("--lossless", action="store_true", help="keep every bit (the default)")
    aim.add_argument("--step", type=float, metavar="S", help="quantiser step, one for all weights")
    aim.add_argument("--snr", type=float, metavar="DB",
                     help="signal-to-noise ratio of all weights together: 10 log10(variance / mean squared error)")
    aim.add_argument("--bits-per-weight", type=float, metavar="B",
                     help="size of the whole stream over quantised weights")
    e.add_argument("--states", type=int, choices=(0, 4, 8, 16, 32, 64),
                   help="trellis states; 0: plain quantiser (default 8; --best 32, --fast 0)")
    e.add_argument("--coder", choices=("cc", "cm"), help="context coding or mixed coding (default cc; --best cm)")
    effort = e.add_mutually_exclusive_group()
    effort.add_argument("--fast", action="store_true", help="no trellis")
    effort.add_argument("--best", action="store_true", help="32 states, mixed coding, both scans tried")
    e.add_argument("--reference", action="append", default=[], metavar="FILE",
                   help="a model that the decoder will have (.onnx, .safetensors, .npz, .omc); may be given again")
    _systems(e)
    e.add_argument("--quality-layers", type=int, metavar="N", help="N layers from coarse to the quality asked for")
    e.add_argument("--threads", type=int, metavar="N", help="threads (default: all processors)")
    e.add_argument("--config", metavar="FILE",
                   help="TOML or JSON with the fields of refcodec.Config; options win over it")
    e.add_argument("--json", action="store_true", help="print the result as JSON")

    d = commands.add_parser(
        "decode", help="an OMC stream to a model file",
        description="Decode a stream. The output's format follows its name; a stream of an ONNX file or of a "
        "safetensors file gives that file back. A model with external data needs a folder as OUTPUT.")
    d.add_argument("input", metavar="IN.omc")
    d.add_argument("-o", "--output", required=True, metavar="OUTPUT")
    d.add_argument("--reference", action="append", default=[], metavar="FILE",
                   help="the model that an update refers to")
    d.add_argument("--tensor", action="append", default=[], metavar="NAME",
                   help="only this tensor, into an .npz; may be given again")
    d.add_argument("--quality", type=int, metavar="N", help="quality layer, 1 is the coarsest (default: the finest)")
    d.add_argument(
        "--model", metavar="WHICH", help="model of a stream of several: its name, or its number counted from 0; "
        "'refcodec info' lists them (default: the last)")
    d.add_argument("--allow-prefix", action="store_true", help="take a stream cut after a whole quality layer or model")
    d.add_argument("--max-memory", type=size, metavar="SIZE", help="most memory for one tensor, e.g. 500M or 2G")
    d.add_argument("--threads", type=int, metavar="N", help="threads (default: all processors)")
    d.add_argument("--json", action="store_true", help="print the result as JSON")

    i = commands.add_parser("info", help="what a stream holds and where its bytes go")
    i.add_argument("input", metavar="IN.omc")
    i.add_argument("--json", action="store_true")
    i.add_argument(
        "--why", action="store_true", help="what each tensor would have cost in other entropy modes, and the "
        "model in each of them (slow)")
    i.add_argument("--reference", action="append", default=[], metavar="FILE", help="for --why of an update")

    t = commands.add_parser("trace", help="every syntax element: clause, name, value, bit position, bits")
    t.add_argument("input", metavar="IN.omc")
    t.add_argument("--json", action="store_true", help="one JSON object per line")
    t.add_argument("--bins", action="store_true",
                   help="then every arithmetic-coded bin with its cost (slow: small streams)")
    t.add_argument("--reference", action="append", default=[], metavar="FILE", help="for --bins of an update")

    c = commands.add_parser("compare", help="two models (or streams), tensor by tensor: equal bits, SNR, largest error")
    c.add_argument("a", metavar="A")
    c.add_argument("b", metavar="B")
    c.add_argument("--reference", action="append", default=[], metavar="FILE",
                   help="the model that an update refers to")
    c.add_argument("--json", action="store_true")

    k = commands.add_parser(
        "check-integers", help="run a model in integers: accumulators, clipping, and what changes",
        description="Run the network of a model with activation formats (SPEC 7.6.4; encode --preset "
        "s5-hybrid --calibration makes them) in integers, and the same weights in floating "
        "point.")
    k.add_argument("input", metavar="IN.omc")
    k.add_argument("--inputs", required=True, metavar="X.npz",
                   help="inputs of the network, by name, the first axis is the batch")
    k.add_argument("--labels", metavar="NAME",
                   help="array of X.npz with the right classes (default: 'labels', if it is there)")
    k.add_argument("--reference", action="append", default=[], metavar="FILE",
                   help="the model that an update refers to")
    k.add_argument("--json", action="store_true")
    _validate(commands)
    add_commands(commands)
    return top


def _validate(commands) -> None:
    v = commands.add_parser(
        "validate", help="check a stream against every requirement of SPEC.md",
        description="Check a stream strictly: all that a decoder checks, in all models, and what it need not "
        "check (paths and slots of source files, accumulators of layers in integers). Violations "
        "are shown with unit and bit, and with the words of SPEC.md. Exit codes: 0 valid; 10 not "
        "valid; 11 not all could be checked, as a reference model or memory is missing; 12 a file "
        "cannot be read.")
    v.add_argument("input", metavar="STREAM")
    v.add_argument(
        "--reference", action="append", default=[], metavar="FILE",
        help="an external model that the stream refers to: a model file, or the folder of a dump; may be given again")
    v.add_argument(
        "--all", action="store_true", dest="every", help="go on after the first violation, with the next element, "
        "unit and tensor; what depends on damage is named as not checked")
    v.add_argument("--max-memory", type=size, metavar="SIZE", help="most memory for one tensor, e.g. 500M or 2G")
    v.add_argument("--json", action="store_true", help="print the findings as JSON")


def _systems(e: argparse.ArgumentParser) -> None:
    s = e.add_argument_group("systems", SYSTEMS)
    s.add_argument("--preset", choices=PRESETS, metavar="NAME", help="a system by its name: " + ", ".join(PRESETS))
    s.add_argument("--profile", choices=("baseline", "main", "high"), help="use no tool beyond this profile")
    s.add_argument("--entropy", choices=ENTROPY, metavar="MODE",
                   help="one entropy mode for all that it can code; auto: the smallest of all: " + ", ".join(ENTROPY))
    s.add_argument("--quantiser", choices=QUANTISERS, metavar="NAME",
                   help="of the weights (default uniform): " + ", ".join(QUANTISERS))
    s.add_argument("--rp", type=int, metavar="P", help="s1-rp: decimals that are kept, 0..12 (default 4)")
    s.add_argument("--q-bits", type=int, metavar="K",
                   help="s2-qbits: of 12 decimals, how many are dropped, 0..12 (default 8)")
    s.add_argument("--width", type=int, metavar="BITS",
                   help="fixed-point: bits of a weight, 1..32 (default: as many as --snr needs)")
    s.add_argument("--clusters", type=int, metavar="K", help="k-means: entries of a codebook (default 16)")
    s.add_argument("--update-rank", type=int, metavar="R",
                   help="s4: rank of the factors; augmenting columns of s4-ka (default 8)")
    s.add_argument("--update-fraction", type=float, metavar="F",
                   help="s4-rm: part of the elements that is sent (default 0.02)")
    s.add_argument("--features", action="store_true",
                   help="INPUT is an .npz or .npy of activations: maps C x H x W, or vectors (s3-features implies it)")
    s.add_argument("--sequence", action="store_true",
                   help="features whose first axis counts frames (default: if N x C x H x W)")
    s.add_argument(
        "--root", metavar="WHICH", help="the INPUTs are a set, coded from a root: auto (a tree of least "
        "cost), kl (least Kullback-Leibler distance), size (fewest bytes), or a model's name, number or file")
    s.add_argument("--max-bytes", type=size, metavar="SIZE",
                   help="size of the whole stream, e.g. 20M: the steps are chosen to fit")
    s.add_argument("--calibration", metavar="X.npz", help="s5-hybrid of an ONNX model: inputs by name, a few "
                   "dozen; formats of the activations are chosen on them and carried along")
    s.add_argument("--mean-width", type=float, metavar="BITS",
                   help="with --calibration: bits of an activation, on average (default 8)")


def size(text: str) -> int:
    """Bytes from 123, 500K, 20M, 3G (powers of 1024)."""
    units = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
    digits = text.upper().removesuffix("B").removesuffix("I")
    try:
        number = float(digits[:-1]) * units[digits[-1]] if digits[-1:] in units else float(digits)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size such as 500M") from None
    if not 0 < number < 2**60:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size such as 500M")
    return int(number)


def main(argv: list[str] | None = None) -> int:
    """Entry point of the command; returns the exit code."""
    arguments = parser().parse_args(argv)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")      # names that the terminal cannot show
    from . import commands
    from .errors import ConfigError, FormatError, OmcError

    try:
        code = getattr(commands, arguments.command.replace("-", "_"))(arguments)
        sys.stdout.flush()
        return code or 0
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OmcError as error:
        if getattr(arguments, "json", False):
            print(json.dumps({"error": {"code": error.code, "phase": error.phase, "message": error.message,
                                        "unit": error.unit, "bit": error.bit}}))
        print(f"refcodec: {error}", file=sys.stderr)
        if isinstance(error, FormatError):
            return EXIT_FORMAT
        if isinstance(error, ConfigError):
            return EXIT_CONFIG
        return EXIT_UNSUPPORTED if error.code in UNSUPPORTED_CODES else EXIT_REJECTED
    except OSError as error:
        print(f"refcodec: {error.filename or ''}: {error.strerror or error}", file=sys.stderr)
        return EXIT_FORMAT
    except MemoryError:
        print("refcodec: RESOURCE_LIMIT: not enough memory; limit it with --max-memory", file=sys.stderr)
        return EXIT_UNSUPPORTED
    except KeyboardInterrupt:
        print("refcodec: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
