"""Trains a transformer of 10.9 million parameters and writes it at successive optimiser steps.

    pip install -e '.[training]' && python tools/train_transformer.py [--out models/transformer] [--steps 160]

A byte-level language model learns the sources of the Python standard library, then is fine-tuned on their
docstrings at a small learning rate: what a trainer ships to its rollout servers after every step.  The optimiser
keeps float32 weights; the files are

    step_000.bf16.safetensors, step_001..., one for each of SAVED_STEPS, and
    step_000.fp32.safetensors and the last step in float32.
"""

from __future__ import annotations

import argparse
import ast
import pathlib
import sysconfig
import time

import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional

SEED = 7
WIDTH, LAYERS, HEADS, CONTEXT, BATCH = 384, 6, 6, 64, 8
PRETRAINING_RATE, FINE_TUNING_RATE = 6e-4, 2e-6
WARM_UP = 4                         # fine-tuning steps before step 0, so that Adam's moments fit the new data
SAVED_STEPS = (0, 1, 2, 3, 8, 32)


class Block(nn.Module):
    """Causal self-attention and a dense part, each normalised before and added to the stream."""

    def __init__(self):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv, self.projection = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, length, _ = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(batch, length, 3, HEADS, -1).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.projection(mixed.transpose(1, 2).reshape(batch, length, WIDTH))
        return x + self.down(functional.gelu(self.up(self.norm2(x))))


class Transformer(nn.Module):
    """Bytes in, scores of the next byte out."""

    def __init__(self):
        super().__init__()
        self.bytes, self.positions = nn.Embedding(256, WIDTH), nn.Embedding(CONTEXT, WIDTH)
        self.blocks = nn.ModuleList(Block() for _ in range(LAYERS))
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 256, bias=False)
        for parameter in self.parameters():
            if parameter.ndim > 1:
                nn.init.normal_(parameter, std=0.02)

    def forward(self, text: torch.Tensor) -> torch.Tensor:
        x = self.bytes(text) + self.positions.weight[:text.shape[1]]
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


def corpora() -> tuple[torch.Tensor, torch.Tensor]:
    """(sources of the standard library's top level, docstrings found in them), as bytes."""
    sources, docstrings = [], []
    for path in sorted(pathlib.Path(sysconfig.get_path("stdlib")).glob("*.py")):
        text = path.read_text(encoding="utf-8", errors="replace")
        sources.append(text)
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
                docstrings.append(ast.get_docstring(node) or "")
    return tuple(torch.frombuffer(bytearray("\n\n".join(texts), "utf-8"), dtype=torch.uint8).long()
                 for texts in (sources, docstrings))


def step(model: nn.Module, optimiser: torch.optim.Optimizer, text: torch.Tensor, chance: torch.Generator) -> float:
    """One step of Adam on a random batch of `text`; the loss in nats per byte."""
    starts = torch.randint(len(text) - CONTEXT, (BATCH,), generator=chance)
    batch = torch.stack([text[start:start + CONTEXT + 1] for start in starts])
    loss = functional.cross_entropy(model(batch[:, :-1]).flatten(0, 1), batch[:, 1:].flatten())
    optimiser.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimiser.step()
    return float(loss.detach())


def save(model: nn.Module, folder: pathlib.Path, number: int, dtype: torch.dtype, label: str) -> None:
    """The weights, rounded to `dtype`, as step_NNN.LABEL.safetensors."""
    path = folder / f"step_{number:03}.{label}.safetensors"
    save_file({name: value.detach().to(dtype).contiguous() for name, value in model.state_dict().items()}, path)
    path.chmod(0o644)   # safetensors makes it private


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=pathlib.Path,
                        default=pathlib.Path(__file__).resolve().parent.parent / "models" / "transformer")
    parser.add_argument("--steps", type=int, default=160, help="steps of pretraining")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(SEED)
    torch.set_num_threads(2)
    chance, start = torch.Generator().manual_seed(SEED), time.perf_counter()
    sources, docstrings = corpora()
    model = Transformer()
    optimiser = torch.optim.Adam(model.parameters(), lr=PRETRAINING_RATE, betas=(0.9, 0.98))
    print(f"{sum(p.numel() for p in model.parameters())} parameters, {len(sources)} bytes of text")

    for number in range(args.steps):
        loss = step(model, optimiser, sources, chance)
        if number % 20 == 0 or number == args.steps - 1:
            print(f"pretraining step {number}: {loss:.3f} nats per byte, {time.perf_counter() - start:.0f} s",
                  flush=True)
    for group in optimiser.param_groups:
        group["lr"] = FINE_TUNING_RATE
    for _ in range(WARM_UP):
        step(model, optimiser, docstrings, chance)
    for number in range(max(SAVED_STEPS) + 1):
        if number in SAVED_STEPS:
            save(model, args.out, number, torch.bfloat16, "bf16")
        if number in (0, max(SAVED_STEPS)):
            save(model, args.out, number, torch.float32, "fp32")
        loss = step(model, optimiser, docstrings, chance)
    print(f"fine-tuned: {loss:.3f} nats per byte, {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
