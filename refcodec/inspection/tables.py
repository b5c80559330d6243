"""What describe.py and why.py find, as tables for a terminal."""

from __future__ import annotations

from typing import Any

from .text import shown


def print_info(x: dict[str, Any]) -> None:
    """describe_stream() as tables; of a selection, without what is of the whole stream."""
    state = "" if x["complete"] else ", cut after a whole model"
    print(f"OMC {x['version']}, profile {x['profile']}, level {x['level']}, {x['bytes']:,} bytes, {x['units']} units"
          f"{state}")
    if "selected_units" in x:
        for u in x["selected_units"]:
            print(f"unit {u['unit']}: {u['type']}, {u['coding']}, {u['bytes']:,} bytes from byte {u['offset']:,} on")
    else:
        print("\nwhere the bytes go")
        for name, size in sorted(x["bytes_by_unit"].items(), key=lambda item: -item[1]):
            print(f"  {name:<18} {size:>12,}  {100 * size / x['bytes']:5.1f} %")
    for number, m in enumerate(x["models"]):
        if "selected_units" in x and not m["tensors"]:
            continue
        _print_model(number, m)
        if "why" in m:
            _print_why(m["why"], m["why_in_all"], "these tensors" if "selected_units" in x else "the whole model")


def _print_model(number: int, m: dict[str, Any]) -> None:
    kind = "quality layer on top of the model before" if m["quality_layer_of_previous"] else "model"
    ratio = m["original_bytes"] / max(1, m["bytes"])
    print(f"\n{kind} {number} '{shown(m['name'])}': {_count(m)} tensors, {m['bytes']:,} bytes, ratio {ratio:.3f}, "
          f"source {m['source'] or 'none'}, ends at byte {m['ends_at_byte']:,}")
    for k, r in enumerate(m["references"], 1):
        print(f"  reference {k}: " + (f"external, digest {r['external_digest'][:16]}..." if "external_digest" in r
                                      else f"model {r['model']} '{shown(r['name'])}' of this stream"))
    if m["bits_per_weight"]:
        print(f"  {m['bits_per_weight']:.4f} bits per weight over {m['quantised_elements']:,} quantised elements")
    for key, text in m["metadata_texts"].items():
        print(f"  metadata {shown(key)}: {shown(text, 200)}")
    for a in m["activations"]:
        print(f"  integers: {shown(a['layer'])} takes {'signed' if a['signed'] else 'unsigned'} integers of "
              f"{a['width']} bits in units of 2^{-a['fraction_bits']}, accumulators of {a['accumulator_width']} bits")
    print(f"  {'bytes':>11} {'bits/el':>9}  {'type':<9} {'prediction':<10} {'quantiser':<11} {'entropy':<8} name, shape"
          "   (~ its share of a joined unit)")
    several = len(m["references"]) > 1
    for t in m["tensors"]:
        share = "~" if t["joined_with"] else ""
        source = t["predicted_from"]
        origin = ""
        if source and (t["prediction"] == "copy" or several and source["reference"]):
            owner = f"reference {source['reference']}" if source["reference"] else shown(source["name"])
            origin = f"from {owner} "
        print(f"  {t['bytes']:>11,} {share + format(t['bits_per_element'], '.3f'):>9}  {t['type']:<9} "
              f"{t['prediction']:<10} {t['quantiser']:<11} {t['entropy']:<8} "
              f"{shown(t['name'])} {t['shape']} {origin}{t['detail']}".rstrip())


def _count(m: dict[str, Any]) -> str:
    return f"{len(m['tensors'])} of {m['tensor_count']}" if len(m["tensors"]) < m["tensor_count"] else \
        str(m["tensor_count"])


def _print_why(found: list[dict[str, Any]], in_all: dict[str, Any], which: str) -> None:
    """why.alternatives() and why.summed() as lines: what was picked, then the other ways from the smallest."""
    print("\n  what other ways would have cost: bytes of payloads, * marks what was picked")
    for x in found:
        part = f" part {x['component']}" if x["component"] else ""
        if x["joined"]:
            print(f"  {shown(x['tensor'])}: {x['bytes']:,} bytes, one range-coded payload shared by "
                  f"{len(x['joined'])} tensors, so no other way")
            continue
        print(
            f"  {shown(x['tensor'])}{part}: {x['representation']}, {x['quantiser']}, prediction {x['prediction']}")
        for suffix in ("", " without prediction"):
            ways = {n.removesuffix(suffix): size for n, size in x["alternatives"].items() if n.endswith(suffix) and
                    (suffix or " " not in n)}
            if ways:
                print(f"      {suffix[1:] + ': ' if suffix else ''}" + ", ".join(
                    f"{n}{'*' if n == x['entropy'] and not suffix else ''} {size:,}" for n, size in sorted(
                        ways.items(), key=lambda item: item[1])))
    print(
        f"\n  {which}: {in_all['picked']:,} bytes of payloads as they were picked, {in_all['smallest']:,} with "
        "the smallest way for each,\n  and all in one entropy mode (joined units, and what the mode cannot code, as "
        "they are):")
    for name, way in sorted(in_all["modes"].items(), key=lambda item: item[1]["bytes"]):
        print(f"      {name:<8} {way['bytes']:>12,}" + (f"   {way['kept']} as they are" if way["kept"] else ""))
