"""The store: models go in as versions, and come out by the smallest chain of streams, verified by their digests."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace

from refcodec import Config, Model, OmcError, decode

from .coding import coded, identity_of, references_of
from .errors import CenterError, one_error
from .graph import Edge, shortest_chain
from .index import Identity, Index, Version, read_version, write_model, write_stream, write_tried
from .objects import Objects, sha256
from .recent import Recent
from .uploads import Uploads

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}", re.ASCII)
DEPTH = 8                       # streams in a chain from nothing, at most, before a whole one is stored again
WORTH = 0.95                    # an update is stored instead of the whole model if it is this much smaller
CACHE_BYTES = 256 << 20
SETTINGS = "center.json"


@dataclass(frozen=True)
class Made:
    """A stream that was coded.  reference: number of the model that it needs, None for none.

    keep: False if only its size is to be remembered.
    """

    data: bytes
    reference: int | None
    keep: bool = True

    @classmethod
    def of(cls, data: bytes, base: int | None) -> Made:
        """base: the model that the encoder might use."""
        return cls(data, base if references_of(data) else None)

    @property
    def digest(self) -> str:
        return sha256(self.data)


class Store:
    """A store in a folder; safe in threads, and for several processes at a time.

    folder: of an existing store (create() makes one).  threads: of the codec.  max_memory: bytes that a model may take
    while it is decoded (None: the machine's).  Methods raise CenterError and leave the store as it was.
    """

    def __init__(self, folder: str | os.PathLike, *, threads: int = 1, max_memory: int | None = None,
                 cache_bytes: int = CACHE_BYTES):
        self.folder = os.path.abspath(os.fspath(folder))
        try:
            with open(os.path.join(self.folder, SETTINGS), encoding="utf-8") as f:
                settings = json.load(f)
            url = settings["objects"]
        except (OSError, ValueError, KeyError, TypeError):
            raise CenterError("NOT_FOUND", f"{self.folder!r} is no store; 'init' makes one") from None
        with one_error():
            self.objects = Objects(url if "://" in url else os.path.join(self.folder, url))
        self.index = Index(os.path.join(self.folder, "index.sqlite"))
        self.uploads = Uploads(os.path.join(self.folder, "uploads"))
        self.threads, self.max_memory = threads, max_memory
        self.recent = Recent(cache_bytes)

    @classmethod
    def create(cls, folder: str | os.PathLike, objects: str = ".", **options) -> Store:
        """A new store, or the one that is there.  objects: path in the folder, or fsspec URL, for the streams."""
        folder = os.path.abspath(os.fspath(folder))
        path = os.path.join(folder, SETTINGS)
        with one_error():
            if not os.path.exists(path):
                os.makedirs(folder, exist_ok=True)
                Index(os.path.join(folder, "index.sqlite")).create()
                with open(path + ".part", "w", encoding="utf-8") as f:
                    json.dump({"format": 1, "objects": objects}, f)
                os.replace(path + ".part", path)
        store = cls(folder, **options)
        if objects not in (".", store.objects.url):
            raise CenterError("CONFLICT", f"{folder!r} is a store already, with its objects in {store.objects.url!r}")
        return store

    # Reading

    def version(self, name: str) -> Version:
        """Raises CenterError BAD_REQUEST, NOT_FOUND."""
        check_name(name)
        with one_error():
            found = self.index.version(name)
        if found is None:
            raise CenterError("NOT_FOUND", f"there is no version {name!r}; 'list' shows what there is")
        return found

    def model(self, name: str) -> Model:
        """A version's model, rebuilt and verified."""
        return self.rebuild(self.version(name).model)

    def rebuild(self, model: int) -> Model:
        """Model of this number by the first chain of whole streams. Raises CenterError DAMAGED if there is none."""
        with one_error():
            while (chain := shortest_chain(self.index.edges(), (), model)) is not None:
                try:
                    return self._follow(chain)
                except CenterError as error:
                    if error.code != "DAMAGED":
                        raise
                    self.index.set_damaged(error.details["object"])
        raise CenterError("DAMAGED", f"no chain of streams leads to model {self.index.identity(model).model_digest}; "
                          "'verify --repair' or adding the model again may help")

    def _follow(self, chain: Sequence[Edge]) -> Model:
        start, current = 0, None
        for n, edge in enumerate(chain):
            kept = self.recent.get(edge.model)
            if kept is not None:
                start, current = n + 1, kept
        for edge in chain[start:]:
            current = self.decoded(edge, current)
            self.recent.put(edge.model, current)
        return current

    def decoded(self, edge: Edge, reference: Model | None) -> Model:
        """The model that a stored stream gives. Raises CenterError DAMAGED if it is not the one of the index."""
        data = self.objects.read(edge.object)
        try:
            model = decode(data, [reference] if reference else [], threads=self.threads, max_memory=self.max_memory)
        except OmcError as error:
            if error.code == "RESOURCE_LIMIT":
                raise
            raise CenterError("DAMAGED", f"object {edge.object}: {error}", object=edge.object) from error
        if not identity_of(model).same_as(self.index.identity(edge.model)):
            raise CenterError("DAMAGED", f"object {edge.object} gives another model than it should", object=edge.object)
        return model

    # Adding

    def add(self, name: str, model: Model, *, parents: Sequence[str] = (), reference: str = "auto",
            config: Config | None = None, note: str = "", kind: str | None = None) -> tuple[Version, bool]:
        """(version, True if it is new): codes the model, decodes it again, and enters it.

        parents: versions that it was made from.  reference: version that it is predicted from, 'auto' (the first
        parent, else what advice.py finds) or 'none'.  config: None for lossless; of what is coded lossily, the decoded
        model is the version.  kind: Version.kind, if not 'lossless' or 'lossy'.  Adding the same again changes
        nothing, but brings back a model whose objects were lost.
        Raises CenterError BAD_REQUEST, NOT_FOUND, CONFLICT, BAD_STREAM, FULL, IO, BUSY.
        """
        config = config or Config(threads=self.threads)
        with one_error():
            identity = identity_of(model)
            given = f"{identity.model_digest} {identity.source_digest} {_settings(config)}".strip()
            existing = self._check_new(name, given, parents)
            if existing and self._is_rebuildable(existing.model):
                return existing, False
            number = None if config.lossy else self.index.model_id(identity)
            made: list[Made] = []
            if number is None or not self._is_rebuildable(number):
                base = self._reference(model, identity, reference, parents)
                if config.lossy and base in self.index.models_of(identity.model_digest):
                    base = None                     # a copy would lose nothing, and save nothing for those without it
                made, identity = self._code(model, base, config, identity)
            kind = kind or ("lossy" if config.lossy else "lossless")
            return self._enter(name, identity, given, kind, note, parents, made)

    def add_stream(self, name: str, stream: bytes, *, parents: Sequence[str] = (), model_digest: str | None = None,
                   note: str = "") -> tuple[Version, bool]:
        """Like add(), of a stream: the center rebuilds its model from the references that it has (S1).

        model_digest: what the sender says that the stream gives.  Raises CenterError DIGEST_MISMATCH if it does not.
        """
        with one_error():
            check_name(name)
            bases = [self._model_of_digest(digest) for digest in references_of(stream)]
            model = decode(stream, [self.rebuild(b) for b in bases], threads=self.threads, max_memory=self.max_memory)
            identity = identity_of(model)
            if model_digest not in (None, identity.model_digest):
                raise CenterError("DIGEST_MISMATCH", f"the stream gives {identity.model_digest}, not {model_digest}")
            parents = parents or [v.name for v in self.index.versions() if v.model in bases and v.name != name][:1]
            given = f"{identity.model_digest} {identity.source_digest}".strip()
            existing = self._check_new(name, given, parents)
            made = [Made(stream, bases[0] if bases else None)]
            if len(bases) > 1:                      # the graph of streams knows one reference at most
                made, _ = self._code(model, bases[0], Config(threads=self.threads), identity)
            if existing and self._is_rebuildable(existing.model):
                return existing, False
            return self._enter(name, identity, given, "stream", note, parents, made)

    def _check_new(self, name: str, given: str, parents: Sequence[str]) -> Version | None:
        """The version if it is there with the same content. Raises CONFLICT if it has another one."""
        check_name(name)
        for parent in parents:
            self.version(parent)
        existing = self.index.version(name)
        if existing:
            _check_same(existing, given, parents)
        return existing

    def _model_of_digest(self, digest: str) -> int:
        found = self.index.models_of(digest)
        if not found:
            raise CenterError("NOT_FOUND", f"the stream is an update of model {digest}, which is not here; add that "
                              "model first, or send a stream without a reference")
        return found[0]

    def _is_rebuildable(self, model: int) -> bool:
        try:
            self.rebuild(model)
        except CenterError:
            return False
        return True

    def _reference(self, model: Model, identity: Identity, reference: str, parents: Sequence[str]) -> int | None:
        """Number of the model that this one is predicted from."""
        if reference == "none":
            return None
        if reference != "auto":
            found: int | None = self.version(reference).model
        elif parents:
            found = self.version(parents[0]).model
        else:
            from .advice import best_reference

            found = best_reference(self, model, identity)
        return found if found is not None and self._is_rebuildable(found) else None

    def _code(self, model: Model, base: int | None, config: Config, identity: Identity) -> tuple[list[Made], Identity]:
        """The streams of a model, one of them to be kept."""
        references = [self.rebuild(base)] if base is not None else []
        stream, back = coded(model, references, config)
        if config.lossy:
            return [Made.of(stream, base)], identity_of(back)
        update = Made.of(stream, base)
        if update.reference is None:
            return [update], identity
        chain = shortest_chain(self.index.edges(), (), base) or []
        whole = Made(coded(model, (), config)[0], None)
        keep_whole = len(chain) >= DEPTH or len(update.data) > WORTH * len(whole.data)
        return [replace(update, keep=not keep_whole), replace(whole, keep=keep_whole)], identity

    def _enter(self, name: str, identity: Identity, given: str, kind: str, note: str, parents: Sequence[str],
               made: Sequence[Made]) -> tuple[Version, bool]:
        """Publishes streams and enters the version in one transaction: all of it, or nothing."""
        with self._staged(made) as publish, self.index.transaction() as db:
            existing = read_version(db, name)           # another process may have been quicker
            if existing:
                _check_same(existing, given, parents)
            model = write_model(db, identity)
            publish(db, model)
            if not existing:
                db.execute("INSERT INTO versions (name, model, given, kind, note) VALUES (?, ?, ?, ?, ?)",
                           [name, model, given, kind, note])
                db.executemany("INSERT INTO lineage (child, parent) VALUES (?, ?)", [(name, p) for p in parents])
        return self.version(name), existing is None

    @contextmanager
    def _staged(self, made: Sequence[Made]) -> Iterator[Callable[[sqlite3.Connection, int], None]]:
        """Temporary files of the streams, and a function to publish and enter them, to be called in a transaction."""
        staged: dict[str, tuple[str, Made]] = {}
        published: list[str] = []

        def publish(db: sqlite3.Connection, model: int) -> None:
            for m in made:
                write_tried(db, model, m.reference, len(m.data))
            for digest, (path, m) in staged.items():
                published.append(digest)
                self.objects.publish(path, digest)
                write_stream(db, digest, len(m.data), model, m.reference)

        try:
            for m in made:
                if m.keep:
                    staged[m.digest] = self.objects.stage(m.data), m
            yield publish
        except BaseException:
            self._take_back(published)
            raise
        finally:
            for path, _ in staged.values():
                self.objects.discard(path)

    def _take_back(self, published: Sequence[str]) -> None:
        """Removes objects whose transaction failed, unless another process entered them; what is left, gc removes."""
        if published:
            with suppress(sqlite3.DatabaseError, OSError), self.index.transaction() as db:
                for digest in published:
                    if not db.execute("SELECT 1 FROM streams WHERE object = ?", [digest]).fetchone():
                        self.objects.remove(digest)

    def keep(self, model: int, made: Made | None, instead_of: str | None = None) -> None:
        """Enters one more stream of a model that is here, and forgets another object (its file stays until gc)."""
        with self._staged([made] if made else []) as publish, self.index.transaction() as db:
            if instead_of:
                db.execute("DELETE FROM streams WHERE object = ?", [instead_of])
            publish(db, model)

    def inspect(self, digest: str) -> bool:
        """True if an object is whole; else no plan uses it from now on."""
        try:
            self.objects.read(digest)
        except CenterError as error:
            if error.code != "DAMAGED":
                raise
            self.index.set_damaged(digest)
            return False
        return True


def check_name(name: object) -> str:
    """A version's name: letters, digits and . _ + -, a letter or digit first. Raises CenterError BAD_REQUEST."""
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise CenterError("BAD_REQUEST", f"{str(name)[:120]!r} is no name of a version: 1 to 100 letters, digits, and "
                          "'.', '_', '+', '-' after the first")
    return name


def _check_same(existing: Version, given: str, parents: Sequence[str]) -> None:
    if existing.given != given:
        raise CenterError("CONFLICT", f"version {existing.name!r} exists and is another model "
                          f"({existing.model_digest}); choose another name")
    if parents and sorted(existing.parents) != sorted(parents):
        raise CenterError("CONFLICT", f"version {existing.name!r} exists with the parents {list(existing.parents)}")


def _settings(config: Config) -> str:
    """What a lossy configuration asks for, '' for lossless."""
    if not config.lossy:
        return ""
    plain = {f.name: getattr(config, f.name) for f in dataclasses.fields(Config) if f.name != "threads"}
    return json.dumps({k: v for k, v in plain.items() if v not in (None, {}, [])}, default=str, sort_keys=True)
