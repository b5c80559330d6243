"""'I have A, give me B': the smallest chain of streams, some of them coded when they are asked for first."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace

from refcodec import Config

from .coding import coded
from .errors import CenterError, one_error
from .graph import Edge, shortest_chain
from .index import Version, write_tried
from .store import Made, Store


@dataclass(frozen=True)
class Plan:
    """What to send.  steps: streams in the order in which they are decoded, [] if the receiver has the model.

    have: digest of the model that the receiver has, '' without one.  known: the center has that model, too.
    whole_bytes: of the model's own stream, None if it was never coded.
    """

    version: Version
    have: str
    known: bool
    steps: list[Edge]
    whole_bytes: int | None

    @property
    def bytes(self) -> int:
        return sum(edge.size for edge in self.steps)


class Planner:
    """Plans of one store; safe in threads.  Each stream is coded by one thread while the others wait for it."""

    def __init__(self, store: Store):
        self.store, self.index = store, store.index
        self._making: dict[tuple[int, int | None], threading.Lock] = {}
        self._lock = threading.Lock()

    def plan(self, want: str, have: str = "", have_source: str | None = None, *, make: bool = True,
             avoid: Sequence[str] = ()) -> Plan:
        """The chain of fewest bytes to a version.

        have, have_source: digests of the model that the receiver has, and of its source file.  make: code the stream
        from that model, or from nothing, if it was never coded, and keep it where it is smaller.  avoid: objects that
        the receiver found damaged; they are looked at, and not used if they are.
        Raises CenterError BAD_REQUEST, NOT_FOUND, DAMAGED.
        """
        version = self.store.version(want)
        with one_error():
            for digest in avoid:
                self.store.inspect(digest)
            if have == version.model_digest and have_source == version.source_digest:
                return Plan(version, have, True, [], self.index.tried(version.model, None))
            known = self.index.models_of(have) if have else []
            start = [have] if known else []
            if make:
                self._make(version.model, known[0] if known else None, start)
            steps = shortest_chain(self.index.edges(), start, version.model)
            if steps is None:
                self.store.rebuild(version.model)           # says what is missing
            return Plan(version, have, bool(known), steps or [], self.index.tried(version.model, None))

    def settled(self, want: str, have: str = "", have_source: str | None = None) -> Plan | None:
        """The plan where nothing has to be coded for it: it takes some look-ups. None: ask plan().

        Raises CenterError BAD_REQUEST, NOT_FOUND.
        """
        version = self.store.version(want)
        with one_error():
            if have != version.model_digest or have_source != version.source_digest:
                known = self.index.models_of(have) if have else []
                if not self._is_known(version.model, known[0] if known else None, [have] if known else []):
                    return None
                if shortest_chain(self.index.edges(), [have] if known else [], version.model) is None:
                    return None
        return self.plan(want, have, have_source, make=False)

    def _is_known(self, model: int, reference: int | None, start: Sequence[str]) -> bool:
        """True where the direct stream was coded before, and a stored chain is as small."""
        size, chain = self.index.tried(model, reference), shortest_chain(self.index.edges(), start, model)
        return size is not None and chain is not None and sum(edge.size for edge in chain) <= size

    def _make(self, model: int, reference: int | None, start: Sequence[str]) -> None:
        """Codes the stream from a reference, unless a chain is known to be as small; keeps it if it is smaller."""
        with self._lock:
            making = self._making.setdefault((model, reference), threading.Lock())
        with making:
            size, chain = self.index.tried(model, reference), shortest_chain(self.index.edges(), start, model)
            stored = sum(edge.size for edge in chain) if chain else None
            if size is not None and stored is not None and stored <= size:
                return
            try:
                with one_error():
                    target = self.store.rebuild(model)
                    references = [self.store.rebuild(reference)] if reference is not None else []
                    made = Made.of(coded(target, references, Config(threads=self.store.threads))[0], reference)
                    self.store.keep(model, replace(made, keep=stored is None or len(made.data) < stored))
                    with self.index.transaction() as db:          # also where the reference turned out to be of no use
                        write_tried(db, model, reference, len(made.data))
            except CenterError as error:
                if error.code not in ("DAMAGED", "FULL", "BUSY", "IO"):
                    raise                                   # else what is stored may still do
