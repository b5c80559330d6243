"""What the service says of versions and plans, as JSON."""

from __future__ import annotations

from .index import Version
from .planning import Plan


def version_json(v: Version) -> dict:
    return {"name": v.name, "model_digest": v.model_digest, "source_digest": v.source_digest, "bytes": v.bytes,
            "kind": v.kind, "note": v.note, "created": v.created, "parents": list(v.parents)}


def plan_json(plan: Plan) -> dict:
    return {"version": version_json(plan.version), "have": plan.have, "known": plan.known, "bytes": plan.bytes,
            "whole_bytes": plan.whole_bytes,
            "steps": [{"object": e.object, "size": e.size, "reference": e.reference, "result": e.result}
                      for e in plan.steps]}
