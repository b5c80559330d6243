"""Which points of coverage a stream shows: its decoding, uncompiled and watched.

    REFCODEC_COMPILE=0 python -m conformance.recipes.watch < LIST
LIST: one JSON object per line, {"id", "file", "references": [folders of dumps]}. Prints one JSON object per line: first
{"all": the ids of branches and paths}, then {"id", "points"} for each stream.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from contextlib import suppress

from .instrument import Watched, install


class Watch:
    """Watches the decoder. One per process, made before refcodec is imported."""

    def __init__(self):
        self.watched: Watched = install()
        from refcodec.decoder import StreamDecoder

        from .watch_coder import CoderWatch
        from .watch_syntax import SyntaxWatch
        from .watch_values import RoundingWatch

        class Observed(CoderWatch, RoundingWatch):
            """Sees the events of either."""

            def __init__(self, add):
                CoderWatch.__init__(self, add)
                RoundingWatch.__init__(self, add)

        self.points: set[str] = set()
        self.make_decoder = StreamDecoder
        self.observer, self.syntax = Observed(self.points.add), SyntaxWatch(self.points.add)
        self.watched.take()

    def points_of(self, data: bytes, references: Sequence = ()) -> set[str]:
        """The points of a stream, as far as it can be decoded. references: external models."""
        from refcodec.entropy.watch import watching
        from refcodec.errors import OmcError

        self.points.clear()
        self.syntax.begin()
        with (suppress(OmcError), watching(self.observer),
              self.make_decoder(data, references, make_parser=self.syntax.make_parser) as decoder):
            for number in range(len(decoder.parsed.models)):
                for _ in decoder.tensors(number):
                    pass
        self.syntax.finish()
        return self.points | self.observer.take() | self.watched.take()


def main() -> None:
    watch = Watch()
    from refcodec.checker.dump import read_dump

    print(json.dumps({"all": watch.watched.ids}), flush=True)
    for line in sys.stdin:
        job = json.loads(line)
        references = [read_dump(folder) for folder in job["references"]]
        with open(job["file"], "rb") as file:
            points = watch.points_of(file.read(), references)
        print(json.dumps({"id": job["id"], "points": sorted(points)}), flush=True)


if __name__ == "__main__":
    main()
