"""Files and sentences as networks take them in."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from .evaluate import Arrays
from .graphs import SENTENCES, TOKENS

BLOCK, NO_BYTE = 1024, 256          # magika: bytes of a file's begin and end, and the value of no byte


def file_rows(files: Mapping[str, bytes], each: int) -> np.ndarray:
    """magika: begin and end of files, at most `each` of one ending, spread evenly: [files, 2048]."""
    by_ending: dict[str, list[bytes]] = {}
    for name, data in files.items():
        if len(data) > 64:
            by_ending.setdefault(name.rpartition(".")[2] if "." in name else "", []).append(data)
    rows = []
    for group in by_ending.values():
        for data in group[::max(1, len(group) // each)][:each]:
            row = np.full(2 * BLOCK, NO_BYTE, np.int32)
            begin, end = data[:4 * BLOCK].lstrip()[:BLOCK], data[-4 * BLOCK:].rstrip()[-BLOCK:]
            row[:len(begin)] = np.frombuffer(begin, np.uint8)
            if end:
                row[2 * BLOCK - len(end):] = np.frombuffer(end, np.uint8)
            rows.append(row)
    return np.stack(rows)


def sentences(files: Mapping[str, bytes]) -> list[str]:
    """English sentences of 6 to 30 words out of the documentation in Python sources, each once."""
    found: dict[str, None] = {}
    for name, data in files.items():
        if not name.endswith(".py"):
            continue
        for node in ast.walk(ast.parse(data)):
            if isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.Module)):
                for paragraph in re.split(r"\n\s*\n", ast.get_docstring(node) or ""):
                    text = " ".join(paragraph.split())
                    for part in re.split(r"(?<=[.?!])\s+", text):
                        if re.fullmatch(r"[A-Z][A-Za-z ,;'()-]+\.", part) and 6 <= len(part.split()) <= 30:
                            found[part] = None
    return list(found)


def vocabulary(files: Iterable[str]) -> list[str]:
    """Words of sentences, each once."""
    return sorted({word for text in files for word in re.findall(r"[A-Za-z]{2,10}", text)})


def tokenised(texts: Sequence[str], tokenizer: bytes) -> Arrays:
    """WordPiece, lower case: `ids` and `mask` [runs, SENTENCES, TOKENS]; what does not fill a run is left out."""
    known = json.loads(tokenizer)["model"]["vocab"]
    ids, mask = [], []
    for text in texts[:len(texts) // SENTENCES * SENTENCES]:
        pieces = [known["[CLS]"]]
        for word in re.findall(r"\w+|[^\w\s]", text.lower()):
            pieces += _pieces(word, known)
        pieces = [*pieces[:TOKENS - 1], known["[SEP]"]]
        ids.append(pieces + [known["[PAD]"]] * (TOKENS - len(pieces)))
        mask.append([1.0] * len(pieces) + [0.0] * (TOKENS - len(pieces)))
    shape = (-1, SENTENCES, TOKENS)
    return {"ids": np.array(ids, np.int64).reshape(shape), "mask": np.array(mask, np.float32).reshape(shape)}


def _pieces(word: str, known: Mapping[str, int]) -> list[int]:
    found, start = [], 0
    while start < len(word):
        end = next((e for e in range(len(word), start, -1) if ("##" if start else "") + word[start:e] in known), 0)
        if not end:
            return [known["[UNK]"]]
        found.append(known[("##" if start else "") + word[start:end]])
        start = end
    return found
