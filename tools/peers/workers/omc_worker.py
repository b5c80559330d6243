"""Runs OMC's library in a process of its own, so that every codec starts warm and is measured alike.

    python omc_worker.py '[{"file": ..., "config": {...}, "references": [...], "output": ..., "speed": true}, ...]'

Prints one line of JSON per job: bytes, quantised weights, SNR in dB over them, seconds (of the clock, and of
processors) of encoding (step given, so without the search for it) and of decoding, with one and two threads.
"""

import dataclasses
import hashlib
import json
import pathlib
import sys
import time

import numpy as np

import refcodec
from refcodec.encoder.model_encoder import ModelEncoder, quantised_tensors


def fastest(function, repeat):
    """(result, seconds of the fastest of `repeat` calls, least seconds of processors)."""
    best = cpu = float("inf")
    for _ in range(repeat):
        start, cpu_start = time.perf_counter(), time.process_time()
        result = function()
        best, cpu = min(best, time.perf_counter() - start), min(cpu, time.process_time() - cpu_start)
    return result, best, cpu


def snr(model, decoded, numbers):
    """10 log10(variance / mean squared error) over the quantised tensors together; infinite where equal."""
    original, rebuilt = (np.concatenate([np.asarray(m.tensors[i].array).ravel().astype(np.float64) for i in numbers])
                         for m in (model, decoded))
    error = np.mean((original - rebuilt) ** 2)
    return float(10 * np.log10(original.var() / error)) if error else float("inf")


def is_equal(model, decoded):
    """Whether all tensors have the same bits."""
    return model.digest() == decoded.digest()


def run(job):
    model = refcodec.load(job["file"])
    references = [refcodec.load(path) for path in job.get("references", ())]
    config = refcodec.Config(**job.get("config", {}))
    numbers = quantised_tensors(model, config) if config.lossy else []
    if config.snr is not None:
        step = ModelEncoder(model, config, references).step_for_snr(config.snr)
        config = dataclasses.replace(config, snr=None, step=step)
    repeat = 3 if job.get("speed") else 1
    stream, encoding, encoding_cpu = fastest(lambda: refcodec.encode(model, config, references), min(2, repeat))
    decoded, one, one_cpu = fastest(lambda: refcodec.decode(stream, references), repeat)
    two = fastest(lambda: refcodec.decode(stream, references, threads=2), repeat)[1] if job.get("speed") else None
    if not config.lossy:
        assert is_equal(model, decoded), f"{job['file']} does not come back"
    if "output" in job:
        refcodec.save(decoded, job["output"])
    return dict(bytes=len(stream), sha256=hashlib.sha256(stream).hexdigest(),
                weights=sum(model.tensors[i].size for i in numbers),
                snr=snr(model, decoded, numbers) if numbers else None, encode_seconds=encoding, decode_seconds=one,
                encode_cpu=encoding_cpu, decode_cpu=one_cpu, decode_seconds_2=two)


def main():
    own = pathlib.Path(__file__).resolve().parents[3]
    assert pathlib.Path(refcodec.__file__).is_relative_to(own), f"{refcodec.__file__} is not the codec of {own}"
    for job in json.loads(sys.argv[1]):
        print(json.dumps(run(job)), flush=True)


if __name__ == "__main__":
    main()
