"""refcodec sign: a detached signature over all bytes of a stream, or a new pair of keys."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

from .shared import Commands, add_command, add_json, print_result, refuse_overwriting

if TYPE_CHECKING:
    from ..bitstream.units import ByteSource


def add(commands: Commands) -> argparse.ArgumentParser:
    p = add_command(
        commands, "sign", "sign a stream, so that others can tell who made it",
        "Write an Ed25519 signature over all bytes of a stream into a file of its own (SPEC D.4): 64 bytes, beside the "
        "stream and under its name with '.sig' added. Digests in a stream show damage; a signature shows who made it. "
        "'refcodec decode --verify-key' and 'validate --verify-key' refuse a stream without a right one. Keys are PEM "
        "files, as 'openssl genpkey -algorithm ed25519' makes them, too. Needs the extra 'signing'.",
        {"refcodec sign --new-key release.pem": "once: the private key release.pem, the public one release.pem.pub",
         "refcodec sign model.omc --key release.pem": "model.omc.sig; 'refcodec decode model.omc --verify-key "
                                                       "release.pem.pub' is what a receiver does"})
    p.add_argument("input", metavar="STREAM", nargs="?")
    p.add_argument("--key", metavar="PRIVATE.pem", help="the private key to sign with")
    p.add_argument("-o", "--output", metavar="SIGNATURE", help="where to (default: STREAM.sig)")
    p.add_argument("--new-key", metavar="PRIVATE.pem",
                   help="make a pair of keys instead; the public one is written to PRIVATE.pem.pub. Keep the private "
                        "one to yourself, and give the public one to those who are to know your streams")
    add_json(p)
    return p


def add_verification(p: argparse.ArgumentParser) -> None:
    """--verify-key and --signature, of commands that read streams."""
    p.add_argument("--verify-key", metavar="PUBLIC.pem",
                   help="first verify the signature of the stream with this public key ('refcodec sign'); a stream "
                        "that its owner did not sign is refused before anything of it is decoded")
    p.add_argument("--signature", metavar="FILE",
                   help="where the signature is (default: the stream's name and '.sig')")


def verified(arguments: argparse.Namespace) -> ByteSource:
    """The stream, open; its signature has been verified where --verify-key asks for it. Raises OmcError."""
    from ..bitstream.units import ByteSource
    from ..errors import ConfigError
    from ..signing import ENDING, public_key, verify_file

    if arguments.signature and not arguments.verify_key:
        raise ConfigError("BAD_CONFIG", "--signature without --verify-key: whose signature should it be?")
    source = ByteSource(arguments.input)
    try:
        if arguments.verify_key:
            verify_file(source, arguments.signature or arguments.input + ENDING, public_key(arguments.verify_key))
    except BaseException:
        source.close()
        raise
    return source


def run(arguments: argparse.Namespace) -> None:
    from ..bitstream.parser import LazyParser
    from ..bitstream.units import ByteSource
    from ..errors import ConfigError
    from ..files import atomic_file
    from ..signing import ENDING, PUBLIC_ENDING, new_key, private_key, sign

    if arguments.new_key:
        if arguments.input or arguments.key or arguments.output:
            raise ConfigError("BAD_CONFIG", "--new-key signs nothing: it stands alone")
        new_key(arguments.new_key)
        public = arguments.new_key + PUBLIC_ENDING
        print_result(arguments, {"private": arguments.new_key, "public": public},
                     f"{arguments.new_key}: a new private key; {public}: the public one, for others")
        return
    if not (arguments.input and arguments.key):
        raise ConfigError("BAD_CONFIG", "name a stream, and the private key with --key; --new-key makes one")
    output = arguments.output or arguments.input + ENDING
    refuse_overwriting(output, [arguments.input, arguments.key])
    with ByteSource(arguments.input) as stream:
        LazyParser(stream).parse()                   # what is signed is a stream, and whole
        signature = sign(stream, private_key(arguments.key))
    with atomic_file(output) as sink:
        sink.write(signature)
    print_result(arguments, {"output": output, "bytes": os.path.getsize(arguments.input)},
                 f"{output}: the signature of {arguments.input}")
