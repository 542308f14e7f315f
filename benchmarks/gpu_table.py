"""The figures of `benchmarks.gpu` of its turns, and the page that it writes."""

import statistics
from typing import Any

from benchmarks.workload import Workload

TARGETS = {"S/16": 3000, "S/8": 700, "B/16": 950, "B/8": 230}
"""Images a second that the project asks of one H100."""

DENSE_BF16 = {"H100": 989.4e12, "H200": 989.4e12}
"""Datasheet peaks of the SXM parts, multiplications and additions of dense bfloat16 a second."""


def summary(
    work: Workload, turns: dict[str, list[dict[str, Any]]], built: dict[str, Any], gpu: str
) -> dict[str, Any]:
    """One model's figures: each contender's median, the ratios, and ours of the card's peak."""
    row: dict[str, Any] = {
        "model": work.name,
        "crops": f"2x{work.image} + {work.locals_}x{work.local}",
        "gflops_per_image": round(work.train_flops() / 1e9, 1),
    }
    peak = next((value for name, value in DENSE_BF16.items() if name in gpu), None)
    for name, own in turns.items():
        if name.endswith(" resident"):
            continue
        short = name.removeprefix(f"{work.name} ")
        if short != name:  # the first variant is the one that counts
            short = f"ours {short}" if "ours" in row else "ours"
        row[short] = _figures(own, turns.get(f"{name} resident"), built.get(name, {}))
        if peak is not None and "images_per_second" in row[short]:
            share = row[short]["images_per_second"] * work.train_flops() / peak
            row[short]["mfu"] = round(share, 4)
    for key, other in (("ratio", "eager"), ("ratio_compiled", "compiled")):
        rates = [row.get(name, {}).get("images_per_second") for name in ("ours", other)]
        row[key] = round(rates[0] / rates[1], 3) if all(rates) else None
    return row


def _figures(
    turns: list[dict[str, Any]], resident: list[dict[str, Any]] | None, built: dict[str, Any]
) -> dict[str, Any]:
    rates = [turn["images_per_second"] for turn in turns if "images_per_second" in turn]
    if not rates:
        return {"error": turns[0].get("error", "no turn")}
    peak = built.get("peak_gib")
    return {
        "images_per_second": round(statistics.median(rates), 1),
        "turns": [round(rate, 1) for rate in rates],
        "resident": round(resident[0].get("images_per_second", 0.0), 1) if resident else None,
        "batch": turns[0]["batch"],
        "peak_gib": None if peak is None else round(peak, 2),
        "compile_s": built.get("compile_s"),
    }


def markdown(report: dict[str, Any]) -> str:
    """The report as a page: what ran where, then the tables."""
    where = [
        str(report.get("gpu") or report.get("device")),
        report["date"],
        f"commit {report['commit']}",
        *(f"{name} {report.get(name)}" for name in ("python", "jax", "torch")),
        f"{report.get('cpu')}, {report.get('cores')} cores",
        f"{report['seconds']} s in all",
    ]
    lines = [
        "# Training on one GPU",
        "",
        " · ".join(where),
        "",
        f"    {report['command']}",
        "",
        "Images a second of one training step, uint8 crops brought from the host each time: the",
        "median of alternated turns. Ours also augments on the device; `eager` and `compiled` take",
        "their crops as augmented, and so does `ours host`. MFU: the counted matrix products over",
        "the datasheet's dense bfloat16 peak (989.4 TFLOP/s).",
        "",
    ]
    lines += _models(report["models"])
    if any("real" in row for row in report["models"]):
        lines += ["", "## Ours on JPEG files, read, decoded and cut by the host", ""]
        lines += _real(report["models"])
    if report.get("attention"):
        lines += ["", "## Attention, forward and backward, bfloat16, milliseconds", ""]
        lines += _attention(report["attention"])
    return "\n".join(lines) + "\n"


def _models(rows: list[dict[str, Any]]) -> list[str]:
    head = (
        "| model | crops | contender | batch | images/s | input resident | turns | MFU | peak GiB "
    )
    lines = [head + "| compile s | ours ÷ it |", "|" + "---|" * 11]
    for row in rows:
        ours = row.get("ours", {}).get("images_per_second")
        for name, found in row.items():
            if not isinstance(found, dict) or name == "real":
                continue
            start = f"| {row['model']} | {row['crops']} | {name} "
            if "error" in found:
                lines.append(f"{start}| {found['error']} |" + " |" * 7)
                continue
            rate = found["images_per_second"]
            ratio = f"{ours / rate:.2f}" if ours else ""
            goal = TARGETS.get(row["model"])
            asked = f" (asked: {goal})" if name == "ours" and goal else ""
            turns = " ".join(f"{turn:.0f}" for turn in found["turns"])
            mfu = f"{100 * found['mfu']:.1f} %" if "mfu" in found else ""
            peak = "" if found["peak_gib"] is None else f"{found['peak_gib']:.1f}"
            resident = f"{found['resident']:.0f}" if found["resident"] else ""
            lines.append(
                f"{start}| {found['batch']} | {rate:.0f}{asked} | {resident} | {turns} | {mfu} "
                f"| {peak} | {found['compile_s']} | {ratio} |"
            )
    return lines


def _real(rows: list[dict[str, Any]]) -> list[str]:
    lines = [
        "| model | images/s | of synthetic crops | time without a batch |",
        "|---|---|---|---|",
    ]
    for row in rows:
        found = row.get("real", {})
        if "error" in found:
            lines.append(f"| {row['model']} | {found['error']} | | |")
        elif found:
            share = "" if found["share"] is None else f"{100 * found['share']:.0f} %"
            lines.append(
                f"| {row['model']} | {found['images_per_second']:.0f} | {share} "
                f"| {100 * found['waited']:.0f} % |"
            )
    return lines


def _attention(rows: list[dict[str, Any]]) -> list[str]:
    lines = ["| batch × tokens × heads × depth | XLA | cuDNN | torch |", "|---|---|---|---|"]
    for row in rows:
        shape = " × ".join(map(str, row["shape"]))
        lines.append(
            f"| {shape} | {row.get('xla')} | {row.get('cudnn')} | {row.get('torch', '')} |"
        )
    return lines
