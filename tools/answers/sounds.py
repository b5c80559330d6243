"""Sounds as networks take them in."""

from __future__ import annotations

import io
import wave

import numpy as np

from .evaluate import Arrays


def mono(data: bytes, rate: int) -> np.ndarray:
    """A wave file's samples at another rate: float32 [samples] in -1..1, its channels averaged."""
    with wave.open(io.BytesIO(data)) as file:
        old, channels, width = file.getframerate(), file.getnchannels(), file.getsampwidth()
        raw = file.readframes(file.getnframes())
    if width != 2:
        raise SystemExit(f"a wave file of {width} bytes a sample: 2 are understood")
    sound = np.frombuffer(raw, "<i2").reshape(-1, channels).mean(axis=1) / 32768
    return resampled(sound, old, rate)


def resampled(sound: np.ndarray, old: int, rate: int) -> np.ndarray:
    """By its spectrum, which is cut or lengthened."""
    if old == rate:
        return sound.astype(np.float32)
    count = round(len(sound) * rate / old)
    spectrum = np.fft.rfft(sound)[:count // 2 + 1]
    return (np.fft.irfft(spectrum, count) * (count / len(sound))).astype(np.float32)


def speech_frames(sound: np.ndarray, rate: int, lanes: int = 4) -> Arrays:
    """silero: frames of 32 ms with what comes before them, [frames, lanes, samples]; the sound is cut into lanes."""
    frame, context = (512, 64) if rate == 16000 else (256, 32)
    length = len(sound) // lanes // frame
    rows = []
    for lane in np.array_split(sound[:length * lanes * frame], lanes):
        padded = np.concatenate([np.zeros(context, np.float32), lane])
        rows.append([padded[i * frame:i * frame + context + frame] for i in range(length)])
    return {"input": np.array(rows, np.float32).transpose(1, 0, 2),
            "state": np.zeros((length, 2, lanes, 128), np.float32), "sr": np.array(rate, np.int64)}


def pitch_frames(sound: np.ndarray, hop: int) -> Arrays:
    """crepe: frames of 1024 samples at 16 kHz, each of mean 0 and deviation 1; silent ones are left out."""
    starts = range(0, len(sound) - 1024, hop)
    frames = np.stack([sound[s:s + 1024] for s in starts])
    frames = frames[frames.std(axis=1) > 1e-3]
    return {"frames": (frames - frames.mean(axis=1, keepdims=True)) / frames.std(axis=1, keepdims=True)}


def note_windows(sound: np.ndarray, hop: int = 43844) -> Arrays:
    """basic-pitch: windows of 43844 samples at 22.05 kHz, one every `hop` of them."""
    starts = range(0, len(sound) - 43844 + 1, hop)
    return {"serving_default_input_2:0": np.stack([sound[s:s + 43844, None] for s in starts])}
