"""Looking after a store: is every object what its name says, does every version come out, what can be made again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from refcodec import Config, Model

from .coding import coded
from .errors import CenterError, one_error
from .graph import NOTHING, Edge, shortest_chain
from .store import Made

if TYPE_CHECKING:
    from .store import Store

HOUR = 3600.0
Progress = Callable[[int, int], None]


@dataclass
class Report:
    """objects, versions: looked at.  missing, damaged: objects.  lost: versions that no chain leads to.

    repaired: objects that were made again, or forgotten where they are not needed.  unreferenced: objects that the
    index does not know (gc removes them).  index: what SQLite finds wrong.
    """

    objects: int = 0
    versions: int = 0
    missing: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    repaired: list[str] = field(default_factory=list)
    unreferenced: list[str] = field(default_factory=list)
    index: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """True if every object is whole, or was repaired, and every version comes out."""
        return not (set(self.missing + self.damaged) - set(self.repaired) or self.lost or self.index)

    def as_json(self) -> dict:
        return {"clean": self.clean, **asdict(self)}


def verify(store: Store, repair: bool = False, progress: Progress = lambda done, total: None) -> Report:
    """Hashes and decodes every object, checks every model digest; with `repair` makes again what other chains give."""
    with one_error():
        store.recent.clear()
        report = Report(index=store.index.problems())
        edges = store.index.edges(damaged=True)
        there = store.objects.all()
        bad: list[Edge] = []
        whole: list[Edge] = []
        for edge in edges:
            ok = edge.object in there and store.inspect(edge.object)
            (whole if ok else bad).append(edge)
            if ok:
                store.index.set_damaged(edge.object, False)
            elif edge.object not in there:
                store.index.set_damaged(edge.object)
                report.missing.append(edge.object)
            else:
                report.damaged.append(edge.object)
        for n, edge in enumerate(whole):
            progress(n, len(whole))
            if not _gives_its_model(store, edge):
                report.damaged.append(edge.object)
                bad.append(edge)
        if repair:
            report.repaired = _repair(store, bad)
        versions = store.index.versions()
        report.objects, report.versions = len(edges), len(versions)
        report.lost = [v.name for v in versions if shortest_chain(store.index.edges(), (), v.model) is None]
        report.unreferenced = sorted(there - {edge.object for edge in edges})
        progress(len(whole), len(whole))
    return report


def _gives_its_model(store: Store, edge: Edge) -> bool:
    """False if a stream, with its reference, gives another model than the index says; True if its reference is lost."""
    try:
        store.decoded(edge, _reference(store, edge))
    except CenterError as error:
        if error.code != "DAMAGED":
            raise
        if error.details.get("object") == edge.object:
            store.index.set_damaged(edge.object)
            return False
    return True


def _reference(store: Store, edge: Edge) -> Model | None:
    return None if edge.reference == NOTHING else store.rebuild(store.index.models_of(edge.reference)[0])


def _repair(store: Store, bad: list[Edge]) -> list[str]:
    """Objects that were made again, from models that come out by other chains; each may bring back the next."""
    repaired: list[str] = []
    waiting, before = bad, -1
    while waiting and len(repaired) != before:
        before = len(repaired)
        repaired += [edge.object for edge in waiting if _made_again(store, edge)]
        waiting = [edge for edge in waiting if edge.object not in repaired]
    return repaired


def _made_again(store: Store, edge: Edge) -> bool:
    """Codes a stream anew, or forgets it if its reference is lost while its model is not; False if the model is lost.

    The encoder may have changed since: then the new object has another name, and the old one is forgotten.
    """
    try:
        model = store.rebuild(edge.model)
    except CenterError as error:
        if error.code != "DAMAGED":
            raise
        return False
    try:
        reference = _reference(store, edge)
    except CenterError:
        store.keep(edge.model, None, instead_of=edge.object)
        return True
    stream, _ = coded(model, [reference] if reference else [], Config(threads=store.threads))
    number = store.index.models_of(edge.reference)[0] if reference else None
    store.keep(edge.model, Made.of(stream, number), instead_of=edge.object)
    return True


def collect(store: Store, older_than: float = HOUR, dry_run: bool = False) -> list[str]:
    """Removes temporary files and uploads older than so many seconds, and objects that the index does not know.

    Adds publish inside a transaction, and so does this remove: it takes nothing that is about to be entered.
    Returns what was (or would be) removed.
    """
    with one_error(), store.index.transaction() as db:
        known = {row[0] for row in db.execute("SELECT object FROM streams")}
        unknown = sorted(store.objects.all() - known)
        old, uploads = store.objects.temporaries(older_than), store.uploads.old(older_than)
        if not dry_run:
            for digest in unknown:
                store.objects.remove(digest)
            for path in old:
                store.objects.discard(path)
            for digest in uploads:
                store.uploads.remove(digest)
    return [*unknown, *old, *(f"upload {digest}" for digest in uploads)]
