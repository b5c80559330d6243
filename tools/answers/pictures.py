"""Pictures as networks take them in: crops of photographs, lines of text drawn in fonts, pages."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .evaluate import Arrays


def photograph(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data)).convert("RGB")


def crops(photographs: Sequence[Image.Image], count: int, seed: int) -> Arrays:
    """Squares of different sizes from photographs in turn, half of them flipped: [count, 3, 224, 224]."""
    chance, out = np.random.default_rng(seed), []
    for k in range(count):
        image = photographs[k % len(photographs)]
        side = int(min(image.size) * chance.uniform(0.45, 1))
        left, top = (int(chance.integers(0, n - side + 1)) for n in image.size)
        crop = image.crop((left, top, left + side, top + side)).resize((224, 224), Image.Resampling.BILINEAR)
        if chance.random() < 0.5:
            crop = crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        out.append((np.asarray(crop, np.float32).transpose(2, 0, 1) - 127) / 128)
    return {"x": np.stack(out)}


def _line(text: str, font: ImageFont.FreeTypeFont, chance: np.random.Generator, width: int) -> np.ndarray:
    """A line of 48 x width pixels, float32 in -1..1."""
    image = Image.new("RGB", (width, 48), tuple(map(int, chance.integers(170, 256, 3))))
    ImageDraw.Draw(image).text((10, 4 + int(chance.integers(0, 6))), text, font=font,
                               fill=tuple(map(int, chance.integers(0, 90, 3))))
    pixels = np.asarray(image, np.float32) + chance.normal(scale=chance.uniform(2, 14), size=(48, width, 3))
    return (pixels.clip(0, 255) / 127.5 - 1).astype(np.float32)


def lines(words: Sequence[str], fonts: Sequence[bytes], count: int, seed: int, width: int = 320) -> np.ndarray:
    """Lines of words in fonts and sizes of chance, as many words as fit: [count, 3, 48, width]."""
    chance, out = np.random.default_rng(seed), []
    for n in range(count):
        font = ImageFont.truetype(io.BytesIO(fonts[n % len(fonts)]), size=int(chance.integers(22, 32)))
        text = ""
        for word in chance.permutation(np.array(words, object))[:6]:
            longer = f"{text} {word}".strip()
            if font.getlength(longer) > width - 20:
                break
            text = longer
        out.append(_line(text or str(words[n % len(words)])[:12], font, chance, width).transpose(2, 0, 1))
    return np.stack(out)


def turned(batch: np.ndarray) -> Arrays:
    """Every other line upside down: [n, 3, 48, width]."""
    out = batch[:, :, :, :192].copy()
    out[1::2] = out[1::2, :, ::-1, ::-1]
    return {"x": out}


def pages(batch: np.ndarray, photographs: Sequence[Image.Image], seed: int, size: int = 320) -> Arrays:
    """Lines of text on parts of photographs: [n, 3, size, size], normalised as the detector wants it."""
    chance, out = np.random.default_rng(seed), []
    for n, lower in enumerate(range(0, len(batch) - 2, 3)):
        image = photographs[n % len(photographs)].resize((size, size), Image.Resampling.BILINEAR)
        page = np.asarray(image, np.float32) / 255
        for k in range(3):
            line = (batch[lower + k].transpose(1, 2, 0) + 1) / 2
            wide = int(chance.integers(160, size - 10))
            top, left = 15 + 100 * k + int(chance.integers(0, 40)), int(chance.integers(0, size - wide))
            page[top:top + 48, left:left + wide] = line[:, :wide]
        out.append((page - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225))
    return {"x": np.stack(out).transpose(0, 3, 1, 2).astype(np.float32)}
