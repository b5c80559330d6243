"""Runs inside the environment with onnxruntime: how far decoded models answer as the original does.

    python outputs_worker.py KIND ORIGINAL.onnx DECODED.onnx...      KIND: silero, magika or ppocr

Prints one line of JSON per decoded model: share of equal decisions and largest difference of the outputs.  Inputs:
magika gets files of this Python installation, PP-OCR lines of text rendered here, silero synthesized voiced sounds
between pauses and noise.  All are seeded.
"""

import json
import pathlib
import sys
import sysconfig

import numpy as np
import onnxruntime

RATE, FRAME, CONTEXT = 16000, 512, 64          # silero: samples per second, per frame, before a frame
BLOCK, PADDING = 1024, 256                     # magika: bytes of a file's begin and end, and the value of no byte


def session(path):
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 3, 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def voice():
    """20 s of vowels (pulses through formants) with changing pitch, pauses and noise; float32 in -1..1."""
    chance = np.random.default_rng(1)
    pieces = []
    for number in range(40):
        time = np.arange(RATE // 2) / RATE
        if number % 3 == 2:
            pieces.append(chance.normal(scale=0.002 if number % 2 else 0.03, size=len(time)))
            continue
        pitch = chance.uniform(90, 220) * (1 + 0.1 * np.sin(2 * np.pi * chance.uniform(2, 5) * time))
        phase = 2 * np.pi * np.cumsum(pitch) / RATE
        formants = chance.choice([(730, 1090, 2440), (270, 2290, 3010), (300, 870, 2240), (530, 1840, 2480)])
        sound = np.zeros(len(time))
        for harmonic in range(1, 30):
            gain = sum(1 / (1 + ((harmonic * pitch.mean() - formant) / 90) ** 2) for formant in formants)
            sound += (gain + 0.02) / harmonic ** 0.5 * np.sin(harmonic * phase)
        envelope = np.minimum(1, 8 * np.minimum(time, time[::-1]))
        pieces.append(0.3 * envelope * sound / np.abs(sound).max() + chance.normal(scale=0.002, size=len(time)))
    return np.concatenate(pieces).astype(np.float32)


def silero(network):
    """Probability of speech of every frame: [frames]."""
    sound, state = voice(), np.zeros((2, 1, 128), np.float32)
    context, answers = np.zeros(CONTEXT, np.float32), []
    for start in range(0, len(sound) - FRAME, FRAME):
        frame = sound[start:start + FRAME]
        answer, state = network.run(None, {"input": np.concatenate([context, frame])[None], "state": state,
                                           "sr": np.array(RATE, np.int64)})
        context = frame[-CONTEXT:]
        answers.append(answer[0, 0])
    return np.array(answers)


def magika(network):
    """Scores of the content types of 400 files: [files, types]."""
    roots = [pathlib.Path(sysconfig.get_path("purelib")), pathlib.Path(sysconfig.get_path("stdlib"))]
    by_kind = {}
    for path in sorted(path for root in roots for path in root.rglob("*") if path.is_file()):
        by_kind.setdefault(path.suffix, []).append(path)
    chosen = [path for paths in by_kind.values() for path in paths[::max(1, len(paths) // 12)][:12]][:400]
    rows = []
    for path in chosen:
        data = path.read_bytes()
        begin, end = data[:4 * BLOCK].lstrip()[:BLOCK], data[-4 * BLOCK:].rstrip()[-BLOCK:]
        row = np.full(2 * BLOCK, PADDING, np.int32)
        row[:len(begin)] = np.frombuffer(begin, np.uint8)
        row[2 * BLOCK - len(end):] = np.frombuffer(end, np.uint8)
        rows.append(row)
    return network.run(None, {network.get_inputs()[0].name: np.stack(rows)})[0]


def ppocr(network):
    """Scores of the characters at every position of 60 rendered lines: [positions of all lines, characters]."""
    from PIL import Image, ImageDraw, ImageFont
    words = pathlib.Path(json.__file__).read_text().split()
    chance, scores = np.random.default_rng(2), []
    for _ in range(60):
        text = " ".join(chance.choice(words, 3))[:26]
        font = ImageFont.load_default(size=int(chance.integers(22, 34)))
        width = max(320, int(font.getlength(text)) + 20)
        image = Image.new("RGB", (width, 48), tuple(map(int, chance.integers(180, 256, 3))))
        ImageDraw.Draw(image).text((10, 4), text, font=font, fill=tuple(map(int, chance.integers(0, 90, 3))))
        pixels = (np.asarray(image, np.float32) + chance.normal(scale=6, size=(48, width, 3))) / 127.5 - 1
        batch = pixels.transpose(2, 0, 1)[None].astype(np.float32)
        scores.append(network.run(None, {network.get_inputs()[0].name: batch})[0][0])
    return np.concatenate(scores)


def main():
    kind, original, *decoded = sys.argv[1:]
    answer = {"silero": silero, "magika": magika, "ppocr": ppocr}[kind]

    def decide(output):
        return output > 0.5 if output.ndim == 1 else output.argmax(axis=1)

    expected = answer(session(original))
    for path in decoded:
        output = answer(session(path))
        print(json.dumps(dict(decisions=len(output), agreement=float(np.mean(decide(output) == decide(expected))),
                              largest_difference=float(np.abs(output - expected).max()),
                              mean_difference=float(np.abs(output - expected).mean()))), flush=True)


if __name__ == "__main__":
    main()
