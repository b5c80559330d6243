"""The exit codes of all commands, and which error ends with which."""

from __future__ import annotations

from ..errors import ConfigError, FormatError, OmcError

DONE, INTERNAL, USAGE = 0, 1, 2
REJECTED, UNSUPPORTED, FORMAT, CONFIG = 10, 11, 12, 13
NOT_ALL_PASSED, NO_SMOKE = 20, 21           # of check
INTERRUPTED = 130

TEXT = f"""\
Exit codes:
  {DONE:<5}done ('validate': the stream is valid; 'check': every stream PASS, but for known failures)
  {INTERNAL:<5}internal error: please report it
  {USAGE:<5}wrong use of the command line
  {REJECTED:<5}the stream is damaged or breaks a rule of SPEC.md
  {UNSUPPORTED:<5}the stream needs a feature, a reference or memory that is not there
  {FORMAT:<5}a file cannot be read or written
  {CONFIG:<5}what was asked for cannot be done
  {NOT_ALL_PASSED:<5}'check': not every stream PASS
  {NO_SMOKE:<5}'check': the smoke stream did not PASS, and nothing else was run
  {INTERRUPTED:<5}interrupted"""

UNSUPPORTED_CODES = ("UNSUPPORTED_VERSION", "MISSING_REFERENCE", "RESOURCE_LIMIT")


def of_error(error: OmcError) -> int:
    """The exit code of a command that ends with this error."""
    if isinstance(error, FormatError):
        return FORMAT
    if isinstance(error, ConfigError):
        return CONFIG
    return UNSUPPORTED if error.code in UNSUPPORTED_CODES else REJECTED
