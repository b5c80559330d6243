"""The exit codes of all commands, and which error ends with which."""

from __future__ import annotations

from ..errors import ConfigError, FormatError, OmcError

DONE, INTERNAL, USAGE = 0, 1, 2
REJECTED, UNSUPPORTED, FORMAT, CONFIG = 10, 11, 12, 13
INTERRUPTED = 130

TEXT = """\
Exit codes: 0 done; 1 internal error (please report it); 2 wrong use of the command line;
10 the stream is damaged or breaks a rule of SPEC.md; 11 the stream needs a feature, a reference or
memory that is not there; 12 a model file cannot be read or written; 13 the configuration cannot be met."""

UNSUPPORTED_CODES = ("UNSUPPORTED_VERSION", "MISSING_REFERENCE", "RESOURCE_LIMIT")


def of_error(error: OmcError) -> int:
    """The exit code of a command that ends with this error."""
    if isinstance(error, FormatError):
        return FORMAT
    if isinstance(error, ConfigError):
        return CONFIG
    return UNSUPPORTED if error.code in UNSUPPORTED_CODES else REJECTED
