"""The index: which versions, models and streams there are, in one SQLite file."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from .graph import NOTHING, Edge

FORMAT = 1
WAIT_SECONDS = 30.0           # for another process that writes

# A model is its tensors (model_digest, SPEC 8.8) in a source file (source_digest, '' without).  A version is a name
# for a model; lineage says what it was made from.  A stream is an object that gives a model, from nothing or from a
# reference.  tried remembers the size of streams that were coded, kept or not, so that none is coded twice.
SCHEMA = """
CREATE TABLE models (
    id INTEGER PRIMARY KEY, model_digest TEXT NOT NULL, source_digest TEXT NOT NULL, structure TEXT NOT NULL,
    bytes INTEGER NOT NULL, UNIQUE (model_digest, source_digest));
CREATE TABLE versions (
    name TEXT PRIMARY KEY, model INTEGER NOT NULL REFERENCES models (id), given TEXT NOT NULL, kind TEXT NOT NULL,
    note TEXT NOT NULL, created TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ', 'now')));
CREATE TABLE lineage (
    child TEXT NOT NULL REFERENCES versions (name), parent TEXT NOT NULL REFERENCES versions (name),
    PRIMARY KEY (child, parent));
CREATE TABLE streams (
    object TEXT PRIMARY KEY, size INTEGER NOT NULL, model INTEGER NOT NULL REFERENCES models (id),
    reference INTEGER REFERENCES models (id), damaged INTEGER NOT NULL DEFAULT 0);
CREATE TABLE tried (
    model INTEGER NOT NULL REFERENCES models (id), reference INTEGER REFERENCES models (id), size INTEGER NOT NULL,
    UNIQUE (model, reference));
"""


@dataclass(frozen=True)
class Identity:
    """What a model is.  model_digest: SPEC 8.8.  source_digest: of the file around the tensors, '' without one.

    structure: digest of the tensors' names, types and shapes.  bytes: of all tensors.
    """

    model_digest: str
    source_digest: str
    structure: str
    bytes: int

    def same_as(self, other: Identity | Version) -> bool:
        return (self.model_digest, self.source_digest) == (other.model_digest, other.source_digest)


@dataclass(frozen=True)
class Version:
    """A named model.  given: digests of what was handed in, and the settings if it was coded lossily.

    kind: 'lossless', 'lossy', 'stream' (it came as one) or 'generated'.  created: UTC.
    """

    name: str
    model: int
    model_digest: str
    source_digest: str
    bytes: int
    given: str
    kind: str
    note: str
    created: str
    parents: tuple[str, ...] = ()


_VERSION = """SELECT v.name, v.model, m.model_digest, m.source_digest, m.bytes, v.given, v.kind, v.note, v.created
              FROM versions v JOIN models m ON m.id = v.model"""


class Index:
    """path: of the SQLite file.  Every operation has a connection and a transaction of its own, in any thread."""

    def __init__(self, path: str):
        self.path = path

    def create(self) -> None:
        """Makes the tables, or leaves them as they are."""
        with self.transaction() as db:
            if db.execute("PRAGMA user_version").fetchone()[0] != FORMAT:
                for statement in SCHEMA.split(";"):
                    db.execute(statement)
                db.execute(f"PRAGMA user_version = {FORMAT}")

    @contextmanager
    def connection(self) -> Iterator[sqlite3.Connection]:
        """An open connection; each statement sees the last committed state. Raises sqlite3.DatabaseError."""
        db = sqlite3.connect(self.path, timeout=WAIT_SECONDS, isolation_level=None)
        try:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
            db.execute("PRAGMA foreign_keys = ON")
            yield db
        finally:
            db.close()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """The only writer until the block ends: all of it is kept, or nothing."""
        with self.connection() as db:
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise

    # Reading

    def versions(self) -> list[Version]:
        """All, the oldest first."""
        with self.connection() as db:
            parents: dict[str, list[str]] = {}
            for child, parent in db.execute("SELECT child, parent FROM lineage ORDER BY rowid"):
                parents.setdefault(child, []).append(parent)
            rows = db.execute(_VERSION + " ORDER BY v.rowid").fetchall()
        return [Version(*row, tuple(parents.get(row[0], ()))) for row in rows]

    def version(self, name: str) -> Version | None:
        with self.connection() as db:
            return read_version(db, name)

    def model_id(self, identity: Identity) -> int | None:
        with self.connection() as db:
            return _model_id(db, identity)

    def models_of(self, model_digest: str) -> list[int]:
        """Models with these tensors, whatever their source."""
        with self.connection() as db:
            rows = db.execute("SELECT id FROM models WHERE model_digest = ? ORDER BY id", [model_digest])
            return [row[0] for row in rows]

    def identity(self, model: int) -> Identity:
        with self.connection() as db:
            return Identity(*db.execute("SELECT model_digest, source_digest, structure, bytes FROM models WHERE id = ?",
                                        [model]).fetchone())

    def candidates(self, structure: str, count: int) -> list[int]:
        """At most `count` models that may predict another: those of the same structure first, the youngest first."""
        with self.connection() as db:
            return [row[0] for row in db.execute("SELECT id FROM models ORDER BY structure <> ?, id DESC LIMIT ?",
                                                 [structure, count])]

    def edges(self, damaged: bool = False) -> list[Edge]:
        """All streams that are known to be whole; with `damaged` the others, too."""
        with self.connection() as db:
            rows = db.execute("""SELECT s.object, s.size, coalesce(r.model_digest, ?), s.model, m.model_digest,
                                 s.damaged
                                 FROM streams s JOIN models m ON m.id = s.model LEFT JOIN models r ON r.id = s.reference
                                 ORDER BY s.rowid""", [NOTHING]).fetchall()
        return [Edge(*row[:5]) for row in rows if damaged or not row[5]]

    def tried(self, model: int, reference: int | None) -> int | None:
        """Bytes of the stream of a model from a reference (None: from nothing), None if it was never coded."""
        with self.connection() as db:
            row = db.execute("SELECT size FROM tried WHERE model = ? AND reference IS ?", [model, reference]).fetchone()
        return row[0] if row else None

    def is_object(self, digest: str) -> bool:
        with self.connection() as db:
            return db.execute("SELECT 1 FROM streams WHERE object = ?", [digest]).fetchone() is not None

    def problems(self) -> list[str]:
        """What SQLite itself finds wrong."""
        with self.connection() as db:
            found = [row[0] for row in db.execute("PRAGMA integrity_check") if row[0] != "ok"]
            return found + [f"foreign key: {row}" for row in db.execute("PRAGMA foreign_key_check")]

    # Writing, beyond store.py's own transactions

    def set_damaged(self, digest: str, damaged: bool = True) -> None:
        """No plan uses a damaged object, and its stream may be made again."""
        with self.transaction() as db:
            db.execute("UPDATE streams SET damaged = ? WHERE object = ?", [damaged, digest])
            if damaged:
                db.execute("""DELETE FROM tried WHERE EXISTS (SELECT 1 FROM streams s WHERE s.object = ?
                              AND s.model = tried.model AND s.reference IS tried.reference)""", [digest])

    def exists(self) -> bool:
        return os.path.isfile(self.path)


def read_version(db: sqlite3.Connection, name: str) -> Version | None:
    """One version, inside a transaction or not."""
    row = db.execute(_VERSION + " WHERE v.name = ?", [name]).fetchone()
    if row is None:
        return None
    parents = db.execute("SELECT parent FROM lineage WHERE child = ? ORDER BY rowid", [name])
    return Version(*row, tuple(parent for (parent,) in parents))


def write_model(db: sqlite3.Connection, identity: Identity) -> int:
    """Number of a model, entered if it is new."""
    db.execute("INSERT OR IGNORE INTO models (model_digest, source_digest, structure, bytes) VALUES (?, ?, ?, ?)",
               [identity.model_digest, identity.source_digest, identity.structure, identity.bytes])
    return _model_id(db, identity)


def write_stream(db: sqlite3.Connection, digest: str, size: int, model: int, reference: int | None) -> None:
    """Enters an object that was just published; one that was damaged is whole again."""
    db.execute("""INSERT INTO streams (object, size, model, reference) VALUES (?, ?, ?, ?)
                  ON CONFLICT (object) DO UPDATE SET damaged = 0""", [digest, size, model, reference])


def write_tried(db: sqlite3.Connection, model: int, reference: int | None, size: int) -> None:
    db.execute("DELETE FROM tried WHERE model = ? AND reference IS ?", [model, reference])
    db.execute("INSERT INTO tried (model, reference, size) VALUES (?, ?, ?)", [model, reference, size])


def _model_id(db: sqlite3.Connection, identity: Identity) -> int | None:
    row = db.execute("SELECT id FROM models WHERE model_digest = ? AND source_digest = ?",
                     [identity.model_digest, identity.source_digest]).fetchone()
    return row[0] if row else None
