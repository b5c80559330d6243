"""A process that codes when it is told to, so that codecs can be timed by turns, each in its own environment.

    python speed_worker.py MODULE

MODULE, a file beside this one, has LOSSLESS and UPDATES: classes of codecs by name.  Every line of standard input is a
request in JSON, every line of standard output the answer:

    {"do": "open", "codec": NAME, "path": FILE, "reference": FILE or null, "settings": {...}, which not all have}
    {"do": "encode", "codec": NAME, "threads": 1}     {"bytes": size, "wall": seconds, "cpu": seconds}
    {"do": "decode", "codec": NAME, "threads": 1}     {"wall": seconds, "cpu": seconds}
    {"do": "check", "codec": NAME}                    {"right": whether decoding gives the file back}
    {"do": "close"}                                   all codecs are forgotten

cpu: of processors, of this process with its threads and of the children that it waited for.  A request that fails is
answered with {"error": text}.
"""

import gc
import importlib
import json
import os
import resource
import sys
import time


def cpu():
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def timed(function, *arguments):
    """(result, {"wall", "cpu"}) of a call."""
    gc.collect()
    start, cpu_start = time.perf_counter(), cpu()
    result = function(*arguments)
    return result, {"wall": time.perf_counter() - start, "cpu": cpu() - cpu_start}


class Server:
    """The codecs that are open. answer: what a request gives."""

    def __init__(self, module):
        self.kinds, self.codecs = {None: module.LOSSLESS, True: module.UPDATES}, {}

    def answer(self, request):
        if request["do"] == "close":
            while self.codecs:
                self.codecs.popitem()[1].close()
            return {}
        name = request["codec"]
        if request["do"] == "open":
            kinds = self.kinds[True if request.get("reference") else None]
            self.codecs[name] = kinds[name](request["path"], request.get("reference"), **request.get("settings", {}))
            return {}
        codec = self.codecs[name]
        if request["do"] == "encode":
            codec.prepare()
            size, times = timed(codec.encode, request["threads"])
            return {"bytes": size, **times}
        if request["do"] == "decode":
            return timed(codec.decode, request["threads"])[1]
        return {"right": bool(codec.is_right(codec.decode(1)))}


def main():
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)                       # what codecs print is not an answer
    server = Server(importlib.import_module(sys.argv[1]))
    for line in sys.stdin:
        try:
            answer = server.answer(json.loads(line))
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)
    server.answer({"do": "close"})


if __name__ == "__main__":
    main()
