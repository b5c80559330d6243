"""What the commands do, and print."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict

from tqdm import tqdm

from refcodec import Config, load, save
from refcodec.files import atomic_file
from refcodec.inputs import is_stream

from . import advice, generated, upkeep
from .coding import identity_of
from .errors import CenterError, escaped
from .lineage import tree
from .planning import Plan, Planner
from .store import Store

EVERYWHERE = ("0.0.0.0", "::", "")         # addresses to listen at


def init(a) -> None:
    store = Store.create(a.store, a.objects)
    line = f"{a.store}: a store, streams in {store.objects.url}"
    _print(a, {"store": store.folder, "objects": store.objects.url}, [line])


def add(a) -> None:
    store, config = Store(a.store), _config(a)
    if os.path.isfile(a.model) and is_stream(a.model):
        if config.lossy:
            raise CenterError("BAD_REQUEST", "a stream is stored as it is: no quality can be asked for")
        with open(a.model, "rb") as f:
            version, new = store.add_stream(a.name, f.read(), parents=a.parent, note=a.note)
    else:
        version, new = store.add(a.name, load(a.model), parents=a.parent, reference=a.reference, config=config,
                                 note=a.note)
    sizes = {e.object: e.size for e in store.index.edges() if e.model == version.model}
    said = "added" if new else "was here already, the same"
    kept = " and ".join(f"{size:,}" for size in sizes.values())
    _print(a, {**asdict(version), "new": new, "streams": sizes},
           [f"{version.name}: {said}; {version.bytes:,} bytes of tensors, kept as {kept}",
            f"model digest {version.model_digest}"])


def list(a) -> None:
    _list(a, [asdict(v) for v in Store(a.store).index.versions()])


def lineage(a) -> None:
    store = Store(a.store)
    _print(a, {v.name: v.parents for v in store.index.versions()}, tree(store))


def plan(a) -> None:
    store = Store(a.store)
    _print_plan(a, _planned(store, a, make=not a.stored))


def get(a) -> None:
    if not (a.output or a.streams):
        raise CenterError("BAD_REQUEST", "say what to write: -o FILE, --streams FOLDER or both")
    store = Store(a.store)
    found = _planned(store, a)
    if a.streams:
        os.makedirs(a.streams, exist_ok=True)
        for n, edge in enumerate(found.steps, 1):
            with atomic_file(os.path.join(a.streams, f"{n:03}-{edge.object}.omc")) as f:
                f.write(store.objects.read(edge.object))
    if a.output:
        save(store.model(a.name), a.output)
    _print_plan(a, found)


def _planned(store: Store, a, make: bool = True) -> Plan:
    have, source = "", None
    if a.have and os.path.isfile(a.have):
        identity = identity_of(load(a.have))
        have, source = identity.model_digest, identity.source_digest
    elif a.have:
        version = store.version(a.have)
        have, source = version.model_digest, version.source_digest
    return Planner(store).plan(a.name, have, source, make=make)


def _print_plan(a, found: Plan) -> None:
    steps = [asdict(edge) for edge in found.steps]
    whole = f"; the whole model is {found.whole_bytes:,}" if found.whole_bytes else ""
    lines = [f"{e.size:>12,}  {e.object}  {'whole' if not e.reference else 'of ' + e.reference[:16]} -> {e.result[:16]}"
             for e in found.steps]
    if found.have and not found.known:
        lines.append("the model that the receiver has is not in the store")
    _print(a, {"version": found.version.name, "model_digest": found.version.model_digest, "have": found.have,
               "known": found.known, "bytes": found.bytes, "whole_bytes": found.whole_bytes, "steps": steps},
           [*lines, f"{found.version.name}: {found.bytes:,} bytes in {len(steps)} streams{whole}"])


def verify(a) -> int:
    store = Store(a.store)
    with _bar("verify") as progress:
        report = upkeep.verify(store, a.repair, progress)
    kinds = ("missing", "damaged", "repaired", "lost", "index")
    lines = [f"{what}: {x}" for what in kinds for x in getattr(report, what)]
    if report.unreferenced:
        lines.append(f"{len(report.unreferenced)} objects that the index does not know; 'gc' removes them")
    lines.append(f"{report.objects} objects, {report.versions} versions: {'clean' if report.clean else 'NOT CLEAN'}")
    _print(a, report.as_json(), lines)
    return 0 if report.clean else 5


def gc(a) -> None:
    removed = upkeep.collect(Store(a.store), a.older_than, a.dry_run)
    said = "would be removed" if a.dry_run else "removed"
    _print(a, {"removed": removed, "dry_run": a.dry_run}, [*removed, f"{len(removed)} files {said}"])


def best_reference(a) -> None:
    store, model = Store(a.store), load(a.model)
    found = advice.candidates(store, model, identity_of(model))
    whole = advice.Estimates(model).bytes()
    lines = [f"{'version':<24} {'KL nats':>9} {'estimate':>12} {'coded':>12}"]
    sizes = [f"{c.size:,}" if c.size else "" for c in found]
    lines += [f"{(c.names or ['?'])[0]:<24} {c.distance:>9.4f} {c.estimate:>12,.0f} {size:>12}"
              for c, size in zip(found, sizes)]
    _print(a, {"alone_estimate": whole, "candidates": [asdict(c) for c in found]},
           [*lines, f"{'by itself':<24} {'':>9} {whole:>12,.0f}"])


def generate(a) -> None:
    made = generated.generate(Store(a.store), a.name, a.sources, a.clusters)
    _print(a, {"versions": [asdict(v) for v in made]},
           [f"{v.name}: mean of {', '.join(v.parents)}; digest {v.model_digest[:16]}" for v in made])


def serve(a) -> None:
    from .connections import Server
    from .service import Service

    token = None
    if a.token_file:
        with open(a.token_file, encoding="utf-8") as f:
            token = f.readline(1 << 12).strip()
        if not token:
            raise CenterError("BAD_REQUEST", f"{a.token_file!r} holds no token")
    if a.workers < 1 or a.max_upload < 1 or a.max_memory < 1 or not a.seconds > 0:
        raise CenterError("BAD_REQUEST", "--workers, --max-upload, --max-memory and --seconds are numbers above 0")
    store = Store(a.store, max_memory=a.max_memory)
    service = Service(store, upload_bytes=a.max_upload, workers=a.workers, token=token, open=a.open, seconds=a.seconds,
                      memory=a.max_memory)
    if a.host in EVERYWHERE and not a.name:
        print("knowledge center: it answers to addresses and to 'localhost'; --name NAME adds a name", file=sys.stderr)
    Server(service, [a.host, *a.name], host=a.host, port=a.port).run()


def pull(a) -> None:
    from .client import Client

    with _bar("pull") as progress, Client(a.url, attempts=a.attempts, progress=progress) as client:
        found = client.pull(a.name, a.output, a.have)
    whole = f"; the whole model is {found['whole_bytes']:,}" if found["whole_bytes"] else ""
    line = f"{a.output}: {found['bytes']:,} bytes in {len(found['steps'])} streams, digest verified{whole}"
    _print(a, {"output": a.output, **found}, [line])


def push(a) -> None:
    from .client import Client

    token = os.environ.get("KNOWLEDGE_CENTER_TOKEN")
    with _bar("push") as progress, Client(a.url, token=token, attempts=a.attempts, progress=progress) as client:
        version, new, size = client.push(a.name, a.model, have=a.have, parents=a.parent, note=a.note, config=_config(a))
    said = f"added; {size:,} bytes as a stream" if new else "was there already, the same"
    line = f"{a.name}: {said}; model digest {version['model_digest']}"
    _print(a, {**version, "new": new, "sent_bytes": size}, [line])


def remote(a) -> None:
    from .client import Client

    with Client(a.url, attempts=a.attempts) as client:
        _list(a, client.versions())


def _config(a) -> Config:
    if a.config:
        return Config.read(a.config)
    return Config(snr=a.snr, step=a.step, bits_per_weight=a.bits_per_weight)


def _list(a, versions: Sequence[dict]) -> None:
    lines = [f"{v['name']:<24} {v['bytes']:>14,}  {v['kind']:<10} {v['created']}  {v['model_digest'][:16]}  "
             f"{' '.join(v['parents'])}".rstrip() for v in versions]
    _print(a, {"versions": versions}, lines or ["no versions yet"])


def _print(a, result: dict, lines: Sequence[str]) -> None:
    print(json.dumps(result) if a.json else "\n".join(map(escaped, lines)))


@contextmanager
def _bar(what: str) -> Iterator:
    """A callable (done, total, of what) that moves a bar on a terminal and is silent elsewhere."""
    with tqdm(desc=what, leave=False, unit_scale=True, disable=not sys.stderr.isatty()) as bar:
        def move(done: int, total: int, name: str = "") -> None:
            bar.total = total
            bar.set_postfix_str(name, refresh=False)
            bar.update(done - bar.n)
        yield move


__all__ = ["add", "best_reference", "gc", "generate", "get", "init", "lineage", "list", "plan", "pull", "push",
           "remote", "serve", "verify"]
