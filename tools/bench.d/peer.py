# SPDX-License-Identifier: Apache-2.0
"""What the peer programs in Python share; peer.h says how compare.py talks to them."""
import json
import sys
import time

WARM = 20
LEAST = 3


class Peer:
    """The arguments: rows, vocab, temperature, min_p, top_k, top_p, and logits() as a NumPy array."""

    def __init__(self):
        if len(sys.argv) < 9:
            sys.exit("too few arguments; compare.py starts this program")
        self.file = sys.argv[1]
        self.rows, self.vocab, self.top_k = (int(sys.argv[i]) for i in (2, 3, 6))
        self.temperature, self.min_p, self.top_p, self.seconds = (float(sys.argv[i]) for i in (4, 5, 7, 8))

    def logits(self):
        import numpy
        return numpy.fromfile(self.file, numpy.float32).reshape(self.rows, self.vocab)

    def measure(self, run):
        for _ in range(WARM):
            run()
        times = []
        end = time.perf_counter() + self.seconds
        while len(times) < LEAST or time.perf_counter() < end:
            start = time.perf_counter_ns()
            run()
            times.append((time.perf_counter_ns() - start) * 1e-3)
        times.sort()
        n = len(times)
        return {"min": times[0], "q1": times[n // 4], "median": times[n // 2], "q3": times[n - 1 - n // 4],
                "reps": n}

    def serve(self, version, cases):
        """`cases`: (group, name, function) each."""
        print(json.dumps({"version": version, "cases": [case[:2] for case in cases]}), flush=True)
        for line in sys.stdin:
            print(json.dumps(self.measure(cases[int(line)][2])), flush=True)
