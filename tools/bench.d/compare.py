# SPDX-License-Identifier: Apache-2.0
"""Let clsample and its peers take turns on the same logits; started by tools/bench."""
import argparse
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time

import chart

GROUPS = {"filters": "temperature, min-p, top-k, top-p and draw",
          "draw": "temperature and draw, no filter",
          "argmax": "the largest logit"}
FLOOR = "floor: read-only maximum"
PARTS = os.path.dirname(os.path.abspath(__file__))


def say(text):
    print(text, file=sys.stderr, flush=True)


def read_arguments():
    p = argparse.ArgumentParser(prog="tools/bench")
    p.add_argument("--build", required=True, help=argparse.SUPPRESS)
    p.add_argument("--command", default="", help=argparse.SUPPRESS)
    p.add_argument("--vocab", type=int, default=49152)
    p.add_argument("--rows", type=int, default=1)
    p.add_argument("--logits", choices=["llm", "flat"], default="llm")
    p.add_argument("--temperature", type=float, default=0.8)
    p.add_argument("--min-p", type=float, default=0.05)
    p.add_argument("--top-k", type=int, default=50)
    p.add_argument("--top-p", type=float, default=0.9)
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--seconds", type=float, default=0.5)
    p.add_argument("--out")
    p.add_argument("--svg")
    p.add_argument("--from", dest="source")
    a = p.parse_args()
    if a.temperature <= 0:
        p.error("--temperature: allowed is a number above 0; the greedy choice is measured anyway")
    if a.rounds < 1 or a.seconds <= 0:
        p.error("--rounds and --seconds: allowed are numbers above 0")
    if a.source and not a.svg:
        p.error("--from needs --svg")
    return a


# ---- clsample ----

class Clsample:
    """The command, with the OpenCL runtimes that tools/setup --tests fetched, or else the system's."""

    def __init__(self, build):
        self.command = os.path.join(build, "clsample")
        self.environment = dict(os.environ)
        runtimes = os.path.join(build, "runtimes")
        vendors = os.path.join(runtimes, "all", "vendors")
        if "OCL_ICD_VENDORS" not in os.environ and os.path.isdir(vendors):
            libraries = [os.path.join(runtimes, "intel-env", "lib"), os.environ.get("LD_LIBRARY_PATH")]
            self.environment["OCL_ICD_VENDORS"] = vendors
            self.environment["LD_LIBRARY_PATH"] = ":".join(filter(None, libraries))

    def run(self, arguments, extra=None):
        done = subprocess.run([self.command, *arguments], env={**self.environment, **(extra or {})},
                              capture_output=True, text=True, check=False)
        try:
            answer = json.loads(done.stdout)
        except ValueError:
            answer = {"error": {"message": done.stderr.strip() or f"exit code {done.returncode}"}}
        return answer

    def devices(self):
        """(those to be measured, those left out)."""
        answer = self.run(["devices", "--json"])
        if "error" in answer:
            sys.exit(f"tools/bench: {answer['error']['message']}")
        good, bad = [], []
        for device in answer["devices"]:
            (good if device["usable"] and not device["simulator"] else bad).append(device)
        return good, bad


class OurDevice:
    """One device of clsample, as a peer."""

    def __init__(self, clsample, device, a, file):
        self.clsample = clsample
        self.label = f"{device['platform']} {device['driver']}"
        self.version = None
        shape = ["--raw", "f32", "--vocab", str(a.vocab), "--logits-file", file]
        self.base = ["bench", "--json", "--device", device["selector"], "--seconds", str(a.seconds), *shape]
        self.draw = ["draw", "--json", "--device", device["selector"], *shape]
        drawing = ["--temperature", str(a.temperature)]
        filters = ["--min-p", str(a.min_p), "--top-k", str(a.top_k), "--top-p", str(a.top_p)]
        self.settings = {"filters": drawing + filters, "draw": drawing, "argmax": ["--greedy"]}
        self.cases = [[group, "clsample"] for group in GROUPS] + [["argmax", FLOOR]]
        self.floor = None
        self.figures = {}

    def measure(self, index):
        group, name = self.cases[index]
        if name == FLOOR:
            return self.floor
        answer = self.clsample.run(self.base + self.settings[group])
        if "error" in answer:
            raise RuntimeError(answer["error"]["message"])
        self.version = f"clsample {answer['version']}"
        self.figures[group] = {k: answer[k] for k in ("ratio", "launch_us", "scratch_bytes")}
        self.floor = {**answer["floor"], "reps": answer["repetitions"]}
        return {**answer["pipeline"], "reps": answer["repetitions"]}

    def measure_start(self):
        """Milliseconds of a whole process that draws one token: without any cache, and with all of them."""
        times = []
        with tempfile.TemporaryDirectory() as folder:
            caches = {"CLSAMPLE_CACHE": os.path.join(folder, "clsample"),
                      "POCL_CACHE_DIR": os.path.join(folder, "pocl")}
            os.mkdir(caches["POCL_CACHE_DIR"])
            for _ in range(6):
                start = time.perf_counter()
                answer = self.clsample.run(self.draw, caches)
                times.append((time.perf_counter() - start) * 1e3)
                if "error" in answer:
                    raise RuntimeError(answer["error"]["message"])
        return {"start_cold_ms": times[0], "start_warm_ms": statistics.median(times[1:])}

    def close(self):
        pass


# ---- Peers ----

class Peer:
    """A program of this folder that speaks as peer.h says. Raises RuntimeError with the reason for a skip."""

    def __init__(self, program, a, file, label=None, extra=(), environment=None):
        numbers = [a.rows, a.vocab, a.temperature, a.min_p, a.top_k, a.top_p, a.seconds]
        self.label = label
        self.errors = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen([*program, file, *map(str, numbers), *extra], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=self.errors, env={**os.environ, **(environment or {})})
        try:
            hello = self.answer()
        except RuntimeError:
            self.close()
            raise
        self.cases = hello["cases"]
        self.version = hello.get("version")

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            self.errors.seek(0)
            said = self.errors.read().strip().splitlines()
            raise RuntimeError(said[-1] if said else "it ended without a word")
        return json.loads(line)

    def measure(self, index):
        try:
            self.process.stdin.write(f"{index}\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # answer() says why
        return self.answer()

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()
        self.errors.close()


def start_peers(a, clsample, devices, file, skipped):
    python = os.path.join(a.build, "peers", "bin", "python")
    peers = []

    def start(name, program, missing, **more):
        if not os.path.exists(program[0]):
            skipped.append({"name": name, "reason": missing})
            return
        say(f"starting {name} ...")
        try:
            peers.append(Peer(program, a, file, **more))
        except RuntimeError as error:
            skipped.append({"name": name, "reason": str(error)})

    for device in devices:
        start(f"CLBlast on {device['platform']}", [os.path.join(a.build, "peer_clblast")],
              "its library is not installed (libclblast-dev)", extra=[device["selector"]],
              label=f"{device['platform']} {device['driver']}", environment=clsample.environment)
    none = "not installed (--install-peers)"
    start("llama.cpp", [os.path.join(a.build, "peer_llama")], none)
    script = {name: [python, "-B", os.path.join(PARTS, f"peer_{name}.py")] for name in ("torch", "jax", "numpy")}
    # On a busy machine PyTorch is faster with one thread, on an idle one with all; the better one counts.
    start("PyTorch, 1 thread", script["torch"], none, environment={"OMP_NUM_THREADS": "1"})
    start("PyTorch, all threads", script["torch"], none)
    start("JAX", script["jax"], none)
    start("NumPy", script["numpy"], none)
    return peers


# ---- Measuring ----

def take_turns(a, peers):
    """{(peer, case): [quartiles of each round]}; a peer that fails ends the run."""
    rounds = {}
    watched = sys.stderr.isatty() and os.environ.get("TERM", "dumb") not in ("", "dumb")
    for n in range(a.rounds):
        for i, peer in enumerate(peers):
            for j in range(len(peer.cases)):
                if watched:
                    print(f"\r\033[Kround {n + 1} of {a.rounds}: {peer.cases[j][1]}", end="", file=sys.stderr)
                rounds.setdefault((i, j), []).append(peer.measure(j))
    if watched:
        print("\r\033[K", end="", file=sys.stderr)
    return rounds


def summarize(peers, rounds):
    """One entry a case: the median over the rounds of each quartile. Of equal cases the fastest stays."""
    best = {}
    for (i, j), found in rounds.items():
        group, name = peers[i].cases[j]
        entry = {"group": group, "name": name, "device": peers[i].label, "version": peers[i].version,
                 "reps": sum(r["reps"] for r in found), "rounds_us": [r["median"] for r in found],
                 "min_us": min(r["min"] for r in found)}
        for key in ("q1", "median", "q3"):
            entry[f"{key}_us"] = statistics.median(r[key] for r in found)
        key = (group, name, peers[i].label)
        if key not in best or entry["median_us"] < best[key]["median_us"]:
            best[key] = entry
    order = list(GROUPS)
    return sorted(best.values(), key=lambda e: (order.index(e["group"]), e["median_us"]))


def cpu_name():
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def measure(a):
    clsample = Clsample(a.build)
    good, bad = clsample.devices()
    if not good:
        sys.exit("tools/bench: no usable OpenCL device; clsample devices says why")
    skipped = [{"name": f"{d['platform']} / {d['name']}", "reason": d["reason"] or "a simulator"} for d in bad]
    with tempfile.TemporaryDirectory() as folder:
        file = os.path.join(folder, "logits.f32")
        answer = clsample.run(["bench", "--json", "--device", good[0]["selector"], "--reps", "1", "--vocab",
                               str(a.vocab), "--rows", str(a.rows), "--logits", a.logits, "--save-logits", file])
        if "error" in answer:
            sys.exit(f"tools/bench: {answer['error']['message']}")
        ours = [OurDevice(clsample, device, a, file) for device in good]
        peers = ours + start_peers(a, clsample, good, file, skipped)
        try:
            rounds = take_turns(a, peers)
            starts = [our.measure_start() for our in ours]
        except RuntimeError as error:
            sys.exit(f"tools/bench: {error}")
        finally:
            for peer in peers:
                peer.close()
    shown = ("selector", "platform", "name", "driver", "opencl", "compute_units")
    return {"command": a.command.strip(),
            "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "machine": {"cpu": cpu_name(), "cores": os.cpu_count(), "system": platform.platform()},
            "config": {key: getattr(a, key) for key in ("vocab", "rows", "logits", "temperature", "min_p",
                                                        "top_k", "top_p", "rounds", "seconds")},
            "devices": [{**{key: d[key] for key in shown}, **start, "settings": our.figures}
                        for d, our, start in zip(good, ours, starts)],
            "results": summarize(peers, rounds), "skipped": skipped}


# ---- Report ----

def print_table(report):
    c = report["config"]
    print(f"{c['rows']} x {c['vocab']} float32 logits ({c['logits']}); temperature {c['temperature']:g}, "
          f"min-p {c['min_p']:g}, top-k {c['top_k']}, top-p {c['top_p']:g}")
    print(f"{report['machine']['cpu']}, {report['machine']['cores']} cores; microseconds, median of "
          f"{c['rounds']} rounds\n")
    for group, title in GROUPS.items():
        entries = [e for e in report["results"] if e["group"] == group]
        base = min(e["median_us"] for e in entries if e["name"] == "clsample")
        print(f"{title:<64} {'median':>10} {'min':>10} {'/clsample':>9}")
        for e in entries:
            name = e["name"] + (f", {e['device']}" if e["device"] else "")
            print(f"  {name:<62.62} {e['median_us']:>10.1f} {e['min_us']:>10.1f} {e['median_us'] / base:>9.2f}")
        print()
    for d in report["devices"]:
        print(f"{d['platform']}: a process that draws one token takes {d['start_cold_ms']:.0f} ms with empty "
              f"caches, {d['start_warm_ms']:.0f} ms with full ones")
    for s in report["skipped"]:
        print(f"skipped {s['name']}: {s['reason']}")


def main():
    a = read_arguments()
    if a.source:
        with open(a.source, encoding="utf-8") as file:
            report = json.load(file)
    else:
        report = measure(a)
        with open(a.out or os.path.join(a.build, "bench.json"), "w", encoding="utf-8") as file:
            json.dump(report, file, indent=2)
            file.write("\n")
        print_table(report)
    if a.svg:
        with open(a.svg, "w", encoding="utf-8") as file:
            file.write(chart.draw(report, GROUPS))


main()
