"""Who made a stream: a detached Ed25519 signature over all of its bytes (SPEC D.4), in a file of its own beside it.

The arithmetic is that of the package `cryptography` (the extra `signing`); keys are PEM files as OpenSSL makes them.

    new_key("release.pem")                                   # once; writes release.pem and release.pem.pub
    with ByteSource("model.omc") as stream:
        signature = sign(stream, private_key("release.pem"))
    with ByteSource("model.omc") as stream:
        verify(stream, signature, public_key("release.pem.pub"))
        with StreamDecoder(stream) as decoder: ...           # of the same open file
"""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Any

from .bitstream.units import BLOCK, ByteSource
from .errors import ConfigError, FormatError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

CONTEXT = b"OMC stream signature\n"          # so that a signature of a stream is one of nothing else
SIGNATURE_BYTES = 64
KEY_BYTES_MAX = 1 << 16                      # of a key file; those of this kind have about a hundred
ENDING, PUBLIC_ENDING = ".sig", ".pub"


def message(stream: ByteSource) -> bytes:
    """What is signed: a constant text and SHA-512 of all bytes of the stream, which need not fit in memory."""
    h = hashlib.sha512()
    for offset in range(0, stream.size, BLOCK):
        h.update(stream.read(offset, min(BLOCK, stream.size - offset)))
    return CONTEXT + h.digest()


def sign(stream: ByteSource, key: Ed25519PrivateKey) -> bytes:
    """The signature of a stream, 64 bytes."""
    signature: bytes = key.sign(message(stream))
    return signature


def verify(stream: ByteSource, signature: bytes, key: Ed25519PublicKey) -> None:
    """Raises FormatError BAD_SIGNATURE unless the signature is one of exactly these bytes by the owner of the key."""
    _ed25519()
    from cryptography.exceptions import InvalidSignature

    try:
        key.verify(signature, message(stream))
    except InvalidSignature:
        raise FormatError("BAD_SIGNATURE", "the signature is not one of this stream by this key: the stream was "
                          "changed, or somebody else signed it") from None


def verify_file(stream: ByteSource, path: str, key: Ed25519PublicKey) -> None:
    """verify() with the signature in a file. Raises FormatError."""
    signature = _read(path, SIGNATURE_BYTES + 1)
    if len(signature) != SIGNATURE_BYTES:
        raise FormatError("BAD_SIGNATURE", f"{path!r} holds no signature: those have {SIGNATURE_BYTES} bytes")
    verify(stream, signature, key)


# Keys

def private_key(path: str) -> Ed25519PrivateKey:
    """The private key of a PEM file (PKCS 8), not encrypted. Raises FormatError."""
    kinds = _ed25519()
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    key: Any
    try:
        key = load_pem_private_key(_read(path, KEY_BYTES_MAX), None)
    except TypeError:
        raise FormatError("FORBIDDEN_PATTERN", f"the key {path!r} is encrypted; 'openssl pkey' writes it without a "
                          "password") from None
    except Exception:                        # the library names several; none of them tells more
        key = None
    if not isinstance(key, kinds.Ed25519PrivateKey):
        raise FormatError("FORBIDDEN_PATTERN", f"{path!r} holds no private Ed25519 key in PEM")
    found: Ed25519PrivateKey = key
    return found


def public_key(path: str) -> Ed25519PublicKey:
    """The public key of a PEM file (SubjectPublicKeyInfo). Raises FormatError."""
    kinds = _ed25519()
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    key: Any
    try:
        key = load_pem_public_key(_read(path, KEY_BYTES_MAX))
    except Exception:                        # as above
        key = None
    if not isinstance(key, kinds.Ed25519PublicKey):
        raise FormatError("FORBIDDEN_PATTERN", f"{path!r} holds no public Ed25519 key in PEM")
    found: Ed25519PublicKey = key
    return found


def new_key(path: str) -> None:
    """Write a new private key, which only its owner may read, and beside it, at path.pub, the public one.

    Raises FormatError TARGET where one of the files is there.
    """
    kinds = _ed25519()
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

    key = kinds.Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for name, data, mode in ((path, private, 0o600), (path + PUBLIC_ENDING, public, 0o644)):
        try:
            with open(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as f:
                f.write(data)
        except FileExistsError:
            raise FormatError("TARGET", f"{name!r} is there already, and keys are not overwritten") from None


def _ed25519() -> Any:
    """The module of the keys. Raises ConfigError BAD_CONFIG where the package is not installed."""
    try:
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError:
        raise ConfigError("BAD_CONFIG", "signatures need the package 'cryptography': pip install 'refcodec[signing]'"
                          ) from None
    return ed25519


def _read(path: str, most: int) -> bytes:
    """At most so many bytes of a file."""
    try:
        with open(path, "rb") as f:
            return f.read(most)
    except OSError as error:
        raise FormatError("MISSING_FILE", f"cannot read {path!r}: {error.strerror}") from error
