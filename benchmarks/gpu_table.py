"""The page that `benchmarks.gpu` writes."""

from typing import Any

TARGETS = {"S/16": 3000, "S/8": 700, "B/16": 950, "B/8": 230}
"""Images a second that the project asks of one H100."""


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
            if not isinstance(found, dict):
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


def _attention(rows: list[dict[str, Any]]) -> list[str]:
    lines = ["| batch × tokens × heads × depth | XLA | cuDNN | torch |", "|---|---|---|---|"]
    for row in rows:
        shape = " × ".join(map(str, row["shape"]))
        lines.append(
            f"| {shape} | {row.get('xla')} | {row.get('cudnn')} | {row.get('torch', '')} |"
        )
    return lines
