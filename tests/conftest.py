"""Fixtures that all chapters share."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from helpers import FIRST_USE, system_cases, tool_streams
from hypothesis import settings

from refcodec import Model, encode
from refcodec.cli.main import main

# The same examples in every run, and no clock: what fails here fails again. --hypothesis-profile=random seeks others.
settings.register_profile("same", derandomize=True, deadline=None, print_blob=True)
settings.register_profile("random", deadline=None, print_blob=True)
settings.load_profile("same")


class Output(NamedTuple):
    """What a command printed."""

    out: str
    err: str

    @classmethod
    def of(cls, out: str, err: str) -> Output:
        """Without the notice that loops are compiled: it depends on what ran before on this machine."""
        return cls(out, "".join(line for line in err.splitlines(True) if not line.startswith(FIRST_USE)))


@pytest.fixture(scope="session")
def streams():
    return tool_streams()


@pytest.fixture(scope="session")
def system_streams() -> dict[str, tuple[bytes, list[Model]]]:
    """The streams of system_cases(): name to (stream, references)."""
    return {name: (encode(models, config, references), references)
            for name, (models, config, references) in system_cases().items()}


@pytest.fixture
def command(capsys):
    """Runs a command that ends with `code`; returns what it printed. A refusal is one line without a traceback."""
    def command(*arguments, code: int = 0):
        found = main([str(a) for a in arguments])
        output = Output.of(*capsys.readouterr())
        assert found == code, output.err
        if code:
            assert output.err.startswith("refcodec: ")
            assert output.err.count("\n") == 1
            assert "Traceback" not in output.err
        return output
    return command
