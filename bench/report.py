"""Makes the table and the plots of what was measured: medians of the rounds."""

import json
from collections import defaultdict
from statistics import median

from clearing import CLI_SAMPLE, COUNT, DELAY_MS

WARM = "es256/one/64"
METRICS = ("rps", "p50_us", "p99_us", "cpu_us", "busy", "peak_bytes")
TITLES = {
    "es256/one/1": "Aborts, one ES256 token, 1 connection",
    "es256/one/64": "Aborts, one ES256 token, 64 connections",
    "es256/one/256": "Aborts, one ES256 token, 256 connections",
    "es256/many/64": "Aborts, 1,000 ES256 tokens seen before, 64 connections",
    "es256/accounts/64": "Aborts of 20 teams in 100 accounts, each by a session of its own, "
                         "64 connections",
    "es256/cold/64": "Aborts, ES256 tokens never seen before, 64 connections",
    "rs256/one/64": "Aborts, one RS256 token, 64 connections",
    "rs256/many/64": "Aborts, 1,000 RS256 tokens seen before, 64 connections",
    "rs256/cold/64": "Aborts, RS256 tokens never seen before, 64 connections",
    "list/1": "Listing 1,000 uploads in pages of 50, 1 connection; a request is a page",
    "list/64": "Listing 1,000 uploads in pages of 50, 64 connections; a request is a page",
    "other-vault/64": "Denied: another team's vault (403), 64 connections",
    "bad-one/64": "Denied: one token with a bad signature (401), 64 connections",
    "bad-fresh/64": "Denied: a new bad signature each time (401), 64 connections",
    "slow/256": f"Aborts, Glacier {DELAY_MS} ms away, 256 connections",
    "unpinned/es256/one/64": "Not pinned, a worker for each core: one ES256 token, 64 connections",
}


class Figures:
    """Medians by scenario and server."""

    def __init__(self, results):
        self.rounds = defaultdict(list)
        for sample in results["samples"]:
            self.rounds[sample["scenario"], sample["server"]].append(sample)
        #: The medians of what the disk takes, by store, in microseconds.
        self.disk = {store: median(times) for store, times in results.get("disk", {}).items()}
        self.clearing = defaultdict(list)
        for sample in results["clearing"]:
            self.clearing[sample["way"], sample["connections"]].append(sample["seconds"])

    def get(self, metric, scenario, server):
        """None if it was not measured, or if any of its rounds is invalid."""
        rounds = self.rounds.get((scenario, server), [])
        if not rounds or any(sample["invalid"] for sample in rounds):
            return None
        return median(sample[metric] for sample in rounds)


def number(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def row(*cells):
    return "| " + " | ".join(map(str, cells)) + " |"


def ideal(connections):
    return COUNT * DELAY_MS / 1000 / connections


#: What the gateway aims at: its figure over that of another server or scenario.
AIMS = [
    # what, metric, scenario, other's scenario, other, bound
    ("one token: requests/s over Envoy's with its cache", "rps", WARM, WARM, "envoy", "≥ 3"),
    ("one token: requests/s over plain nginx's", "rps", WARM, WARM, "nginx", "≥ 0.6"),
    ("one token: CPU per request over plain nginx's", "cpu_us", WARM, WARM, "nginx", "≤ 1.8"),
    ("one token: requests/s over FastAPI's", "rps", WARM, WARM, "fastapi", "≥ 50"),
    ("one token: requests/s over Fastify's", "rps", WARM, WARM, "fastify", "≥ 30"),
    ("one token: p99 over Envoy's with its cache", "p99_us", WARM, WARM, "envoy", "≤ 1"),
    ("1,000 tokens: requests/s over those with one",
     "rps", "es256/many/64", WARM, "gateway", "≥ 0.9"),
    ("new ES256 tokens: requests/s over Envoy's without cache",
     "rps", "es256/cold/64", "es256/cold/64", "envoy-nocache", "≥ 1.5"),
    ("new RS256 tokens: requests/s over Envoy's without cache",
     "rps", "rs256/cold/64", "rs256/cold/64", "envoy-nocache", "≥ 1.7"),
    ("new bad signatures: requests/s over Envoy's",
     "rps", "bad-fresh/64", "bad-fresh/64", "envoy", "≥ 0.9"),
    (f"Glacier {DELAY_MS} ms away, 256 connections: requests/s over plain nginx's",
     "rps", "slow/256", "slow/256", "nginx", "≥ 0.97"),
]

#: What the gateway with a trail aims at: its figure over that without one, or Envoy's.
TRAIL_AIMS = [
    # what, metric, scenario, with which trail, over whom, bound
    ("trail in SQLite, 64 connections: requests/s over those without a trail",
     "rps", "es256/one/64", "gateway-sqlite", "gateway", "≥ 0.75"),
    ("trail in SQLite, 64 connections: requests/s over Envoy's with its cache",
     "rps", "es256/one/64", "gateway-sqlite", "envoy", "≥ 1.5"),
    ("trail in SQLite, 64 connections: p99 over that without a trail",
     "p99_us", "es256/one/64", "gateway-sqlite", "gateway", "≤ 2"),
    ("trail in SQLite, 256 connections: requests/s over those without a trail",
     "rps", "es256/one/256", "gateway-sqlite", "gateway", "≥ 0.85"),
    ("trail in PostgreSQL, 64 connections: requests/s over those without a trail",
     "rps", "es256/one/64", "gateway-postgres", "gateway", "≥ 0.65"),
    ("trail in PostgreSQL, 64 connections: p99 over that without a trail",
     "p99_us", "es256/one/64", "gateway-postgres", "gateway", "≤ 2"),
]


def aims(figures):
    """What the gateway aims at: in words, what was measured, the aim, and whether it is met."""

    def judge(what, value, bound, unit=""):
        sign, aim = bound.split()
        met = value >= float(aim) if sign == "≥" else value <= float(aim)
        digits = 1 if unit else 2
        return what, f"{value:.{digits}f}{unit}", bound + unit, met

    def gateway(metric, scenario):
        return figures.get(metric, scenario, "gateway")

    for what, metric, scenario, others, other, bound in AIMS:
        own, compared = gateway(metric, scenario), figures.get(metric, others, other)
        if own and compared:
            yield judge(what, own / compared, bound)
    own = figures.get("rps", "es256/accounts/64", "gateway-accounts")
    if own and (single := gateway("rps", WARM)):
        yield judge("100 accounts x 20 teams, a session each: requests/s over those of one account",
                    own / single, "≥ 0.9")
    for what, metric, scenario, own, other, bound in TRAIL_AIMS:
        own, compared = figures.get(metric, scenario, own), figures.get(metric, scenario, other)
        if own and compared:
            yield judge(what, own / compared, bound)
    for name, what, bound in (("sqlite", "an fdatasync", 1.5), ("postgres", "a bare commit", 1.3)):
        own = figures.get("p50_us", "es256/one/1", f"gateway-{name}")
        without = gateway("p50_us", "es256/one/1")
        if own and without and (disk := figures.disk.get(name)):
            yield judge(f"trail in {name}, 1 connection: added p50 over that of {what}",
                        (own - without) / disk, f"≤ {bound}")
    if memory := figures.get("peak_bytes", "es256/one/256", "gateway-sqlite"):
        yield judge("trail in SQLite: peak memory at 256 connections", memory / 1e6, "≤ 48", " MB")
    own, nginx = gateway("p50_us", "es256/one/1"), figures.get("p50_us", "es256/one/1", "nginx")
    if own and nginx:
        yield judge("1 connection: p50 above plain nginx's", own - nginx, "≤ 50", " µs")
    if memory := gateway("peak_bytes", "es256/one/256"):
        yield judge("peak memory at 256 connections", memory / 1e6, "≤ 32", " MB")
    if ready := gateway("ready_s", WARM):
        yield judge("start to ready", ready * 1000, "≤ 100", " ms")
    for (way, connections), seconds in figures.clearing.items():
        if way.startswith("gateway"):
            what = f"clearing {COUNT:,} uploads over {connections} connections: time over the ideal"
            limit = "≤ 1.25" if "a job" in way else "≤ 1.2"
            yield judge(f"{way}: {what}", median(seconds) / ideal(connections), limit)


def overview(figures, order):
    """Requests/s and CPU µs of every server in the scenarios that tell most."""
    shown = {"es256/one/64": "ES256, one token", "es256/cold/64": "ES256, new tokens",
             "rs256/one/64": "RS256, one token", "rs256/cold/64": "RS256, new tokens",
             "bad-fresh/64": "bad signatures"}
    yield row("", *shown.values())
    yield row("---", *["---:"] * len(shown))
    for server in order:
        cells = []
        for scenario in shown:
            rps, cpu = (figures.get(metric, scenario, server) for metric in ("rps", "cpu_us"))
            cells.append("" if rps is None else f"{number(rps)} · {number(cpu)}")
        if any(cells):
            yield row(server, *cells)


def details(figures, order, scenario):
    yield f"\n### {TITLES.get(scenario, scenario)}\n"
    yield row("", "requests/s", "lowest–highest", "p50 µs", "p99 µs", "CPU µs", "busy", "peak MB")
    yield row("---", *["---:"] * 7)
    for server in order:
        rounds = figures.rounds.get((scenario, server))
        if not rounds:
            continue
        invalid = [sample["invalid"] for sample in rounds if sample["invalid"]]
        if invalid:
            yield row(server, f"invalid: {invalid[0]}", *[""] * 6)
            continue
        rps, p50, p99, cpu, busy, peak = (figures.get(m, scenario, server) for m in METRICS)
        rates = [sample["rps"] for sample in rounds]
        limited = "" if busy > 0.9 or scenario.endswith("/1") or "slow" in scenario else " †"
        yield row(server, number(rps) + limited, f"{number(min(rates))}–{number(max(rates))}",
                  number(p50), number(p99), number(cpu), f"{busy:.0%}", f"{peak / 1e6:.0f}")


def clearing(figures):
    yield f"\n### Clearing {COUNT:,} uploads, Glacier {DELAY_MS} ms away\n"
    yield row("", "at once", "seconds", "ideal", "over the ideal")
    yield row("---", *["---:"] * 4)
    for (way, connections), seconds in figures.clearing.items():
        best, took = ideal(connections), median(seconds)
        if connections == 1:
            way += f" (extrapolated from {CLI_SAMPLE})"
        yield row(way, connections, number(took), number(best), f"{took / best:.2f}")
    yield "\nThe aborts only: listing the uploads before costs every way the same."


def table(results):
    figures = Figures(results)
    order = list(dict.fromkeys(sample["server"] for sample in results["samples"]))
    known = list(dict.fromkeys(sample["scenario"] for sample in results["samples"]))
    m = results["machine"]
    yield f"# Measured {m['date']}, revision {m['revision']}\n"
    yield (f"{m['cpu']}, {m['cores']} cores, {m['memory_gib']} GiB, Linux {m['kernel']}. "
           f"Medians of {results['rounds']} interleaved rounds, {results['seconds']:g} s a figure. "
           "Server on one core, upstream and load generator on the other, unless said otherwise.")
    others = max(results["others_share"])
    if others > 0.05:
        yield (f"\n**Other programs used up to {others:.0%} of the machine between rounds: do not "
               "quote these figures.**")
    yield ("\n† the server left more than a tenth of its cores idle: upstream and load generator "
           "were the limit, and CPU per request tells more.")
    reached = list(aims(figures))
    if reached:
        yield "\n## Ratios\n"
        yield row("", "measured", "aim", "met")
        yield row("---", "---:", "---:", "---")
        for what, value, aim, met in reached:
            yield row(what, value, aim, "yes" if met else "**no**")
    if order:
        yield "\n## Requests/s · CPU µs per request, 64 connections\n"
        yield from overview(figures, order)
        yield "\n## All figures"
    for scenario in known:
        yield from details(figures, order, scenario)
    if figures.clearing:
        yield from clearing(figures)
    yield "\n## Versions\n"
    for server, version in results["versions"].items():
        yield f"- {server}: {version}"
    for server, reason in results["skipped"].items():
        yield f"- {server}: left out: {reason}"


def plot(figures, order, metric, title, path):
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams |= {"svg.hashsalt": "bench", "svg.fonttype": "none"}
    from matplotlib import pyplot

    bars = {"es256/one/64": "one token", "es256/cold/64": "tokens never seen before"}
    names = [s for s in reversed(order) if any(figures.get(metric, b, s) for b in bars)]
    if not names:
        return
    figure, axes = pyplot.subplots(figsize=(8, 0.5 + 0.5 * len(names)), layout="constrained")
    for index, (scenario, label) in enumerate(bars.items()):
        points = [(n, v) for n, s in enumerate(names) if (v := figures.get(metric, scenario, s))]
        drawn = axes.barh([n + 0.2 - 0.4 * index for n, _ in points], [v for _, v in points], 0.38,
                          label=label, color=("#1f6feb", "#9ec5fe")[index])
        axes.bar_label(drawn, [number(v) for _, v in points], padding=3, fontsize=8)
    axes.set_yticks(range(len(names)), names)
    axes.set_xscale("log")
    axes.margins(x=0.15)
    axes.set_title(title, fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def write(folder):
    """Writes table.md and the plots from the folder's results.json."""
    results = json.loads((folder / "results.json").read_text())
    (folder / "table.md").write_text("\n".join(table(results)) + "\n")
    figures = Figures(results)
    order = list(dict.fromkeys(sample["server"] for sample in results["samples"]))
    where = "ES256, 64 connections, server on one core, logarithmic"
    try:
        for metric, title in (("rps", "Requests/s"), ("cpu_us", "CPU µs per request")):
            name = {"rps": "requests", "cpu_us": "cpu"}[metric]
            plot(figures, order, metric, f"{title}: {where}", folder / f"{name}.svg")
    except ImportError:
        print("No plots: matplotlib is not installed.")
