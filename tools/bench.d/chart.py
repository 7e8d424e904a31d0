# SPDX-License-Identifier: Apache-2.0
"""A bar chart of tools/bench's figures as SVG: one bar a sampler, on a logarithmic axis."""
import math
from xml.sax.saxutils import escape

WIDTH = 860
LEFT = 330  # where bars begin
RIGHT = 90  # room for the last number
BAR = 18
ROW = 26
TITLE = 34
HEAD = 66

# A card of its own colours, so that it can be read on a page of any colour.
STYLE = """
  .card { fill: #ffffff; stroke: #d0d7de }
  text { font: 13px sans-serif; fill: #1f2328 }
  .big { font-size: 16px; font-weight: bold }
  .title { font-weight: bold }
  .small { font-size: 12px; fill: #59636e }
  .grid { stroke: #d8dee4 }
  .ours { fill: #0969da }
  .peer { fill: #a3adb8 }
  .floor { fill: #1a7f37 }
  @media (prefers-color-scheme: dark) {
    .card { fill: #0d1117; stroke: #3d444d }
    text { fill: #f0f6fc }
    .small { fill: #9198a1 }
    .grid { stroke: #2a313c }
    .ours { fill: #4493f8 }
    .peer { fill: #656c76 }
    .floor { fill: #3fb950 }
  }
"""


def number(us):
    if us >= 10000:
        return f"{us / 1000:.1f} ms"
    return f"{us:.0f} us" if us >= 100 else f"{us:.1f} us"


def short(device):
    """"Portable Computing Language 3.1+debian" as "PoCL"."""
    if not device:
        return ""
    for long, name in (("Portable Computing Language", "PoCL"), ("Intel(R) OpenCL", "Intel"),
                       ("NVIDIA CUDA", "NVIDIA")):
        if device.startswith(long):
            return f" on {name}"
    return f" on {device}"


def kind(entry):
    if entry["name"].startswith("floor"):
        return "floor"
    return "ours" if entry["name"] == "clsample" else "peer"


def draw(report, groups):
    values = [e["median_us"] for e in report["results"]]
    low = math.floor(math.log10(min(values)) * 2) / 2 - 0.25
    high = math.log10(max(values))
    scale = (WIDTH - LEFT - RIGHT) / (high - low)

    def x(us):
        return LEFT + (math.log10(us) - low) * scale

    body = []
    y = HEAD
    for group, title in groups.items():
        entries = [e for e in report["results"] if e["group"] == group]
        if not entries:
            continue
        body.append(f'<text class="title" x="20" y="{y + 18}">{escape(title)}</text>')
        y += TITLE - 6
        for e in entries:
            end = x(e["median_us"])
            body.append(f'<text x="{LEFT - 8}" y="{y + 14}" text-anchor="end">'
                        f'{escape(e["name"] + short(e["device"]))}</text>')
            body.append(f'<rect class="{kind(e)}" x="{LEFT}" y="{y}" width="{end - LEFT:.1f}" height="{BAR}" '
                        f'rx="2"/>')
            body.append(f'<text x="{end + 6:.1f}" y="{y + 14}">{number(e["median_us"])}</text>')
            y += ROW
        y += 10
    grid = []
    for power in range(math.ceil(low), math.floor(high) + 1):
        at = x(10.0 ** power)
        grid.append(f'<line class="grid" x1="{at:.1f}" y1="{HEAD}" x2="{at:.1f}" y2="{y}"/>')
        label = f"{10 ** power} us" if power < 3 else f"{10 ** (power - 3)} ms"
        grid.append(f'<text class="small" x="{at:.1f}" y="{y + 16}" text-anchor="middle">{label}</text>')
    c = report["config"]
    rows = f"{c['rows']} rows" if c["rows"] > 1 else "one row"
    head = f"Time to the next token, {rows} of {c['vocab']:,} logits"
    settings = (f"temperature {c['temperature']:g}, min-p {c['min_p']:g}, top-k {c['top_k']}, top-p {c['top_p']:g}; "
                f"median, logarithmic axis; {report['machine']['cpu']}, {report['machine']['cores']} cores")
    height = y + 30
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
            f'viewBox="0 0 {WIDTH} {height}" role="img">\n<title>{escape(head)}</title>\n'
            f'<style>{STYLE}</style>\n'
            f'<rect class="card" x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1}" rx="6"/>\n'
            f'<text class="big" x="20" y="28">{escape(head)}</text>\n'
            f'<text class="small" x="20" y="48">{escape(settings)}</text>\n'
            + "\n".join(grid + body) + "\n</svg>\n")
