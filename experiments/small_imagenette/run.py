"""Every protocol on small real data: trained, untrained, supervised and without a network.

python experiments/small_imagenette/run.py --weights=runs/imagenette \\
    --supervised=runs/supervised --data=FOLDER --out=experiments/small_imagenette

FOLDER holds imagenette224, DAVIS, VOCdevkit, camvid12, rdavis and copydays_like. Each protocol is
one call of `python -m dino_jax.evaluate`; its JSON goes to results/PROTOCOL.json, the table of all
to table.md.
"""

import argparse
import json
import logging
import pathlib
import subprocess
import sys
import time
from typing import Any

LABELLED = ("--data=folder:{data}/imagenette224/train", "--val=folder:{data}/imagenette224/val")

PROTOCOLS: dict[str, tuple[str, ...]] = {
    "knn": LABELLED,
    "linear": (*LABELLED, "--noaugment"),
    "logistic": LABELLED,
    "retrieval": ("--data={data}/rdavis",),
    "copy-detection": ("--data={data}/copydays_like",),
    "video": ("--data={data}/DAVIS",),
    "jaccard": ("--data={data}/VOCdevkit/VOC2012",),
    "segment": ("--data={data}/camvid12",),
}
SHOWN = {
    "knn": ("knn20_top1",),
    "linear": ("linear_top1",),
    "logistic": ("logistic_1_top1", "logistic_10_top1", "logistic_100_top1"),
    "retrieval": ("medium_map", "hard_map"),
    "copy-detection": ("strong_map", "attacks_map"),
    "video": ("jf_mean",),
    "jaccard": ("jaccard_60", "jaccard_80"),
    "segment": ("linear_miou", "knn_miou"),
}
"""The figures of each protocol that the table shows."""

VERDICTS = {
    "beats": "trained beats",
    "loses": "trained loses",
    "even": "even",
    "too few": "too few",
}

log = logging.getLogger("small_imagenette")


def main() -> None:
    """Run what is asked for, then write the table of everything that has been run."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("weights", "supervised", "data", "out"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--only", nargs="*", default=list(PROTOCOLS), choices=list(PROTOCOLS))
    asked = parser.parse_args()
    results = pathlib.Path(asked.out) / "results"
    results.mkdir(parents=True, exist_ok=True)
    rows = rows_of(asked.weights, asked.supervised)
    for protocol in asked.only:
        start = time.monotonic()
        found = evaluate(protocol, list(rows), asked.data)
        found = renamed(found, rows) | {"seconds": round(time.monotonic() - start, 1)}
        (results / f"{protocol}.json").write_text(json.dumps(found, indent=1) + "\n")
        log.info("%s: %s", protocol, found["seconds"])
    table = table_of(
        {name: json.loads((results / f"{name}.json").read_text())
         for name in PROTOCOLS if (results / f"{name}.json").exists()}
    )  # fmt: skip
    (pathlib.Path(asked.out) / "table.md").write_text(table)
    sys.stdout.write(table)


def rows_of(weights: str, supervised: str) -> dict[str, str]:
    """Specs in order, and what the table calls them."""
    return {
        weights: "trained teacher",
        f"random:{weights}": "untrained",
        supervised: "supervised from scratch",
        "pixels": "raw pixels",
        "colour": "colour histogram",
    }


def evaluate(protocol: str, specs: list[str], data: str) -> dict[str, Any]:
    """The JSON that one call of the command ends with."""
    first, *others = specs
    command = [sys.executable, "-m", "dino_jax.evaluate", protocol, f"--weights={first}", "--json"]
    command += [f"--against={other}" for other in others]
    command += [argument.format(data=data) for argument in PROTOCOLS[protocol]]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    sys.stdout.write(done.stdout.rsplit("\n", 2)[0] + "\n")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def renamed(found: dict[str, Any], rows: dict[str, str]) -> dict[str, Any]:
    """The figures by what the table calls the rows, without where anything lay."""
    titles = list(rows.values())
    kept: dict[str, Any] = {"protocol": found["protocol"], "options": found["settings"]["options"]}
    for part in ("figures", "intervals"):
        kept[part] = dict(zip(titles, found[part].values(), strict=True))
    kept["differences"] = dict(zip(titles[1:], found["differences"].values(), strict=True))
    return kept


def table_of(results: dict[str, dict[str, Any]]) -> str:
    """One row a protocol: each contender with its interval, and whether trained beats it."""
    contenders = list(next(iter(results.values()))["figures"])
    lines = [
        "| protocol, figure | " + " | ".join(contenders) + " |",
        "|---" * (len(contenders) + 1) + "|",
    ]
    for protocol, found in results.items():
        for name in SHOWN[protocol]:
            cells = [cell(found, contender, name) for contender in contenders]
            lines.append(f"| {protocol}, {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def cell(found: dict[str, Any], contender: str, name: str) -> str:
    """A figure with its interval; of the others also what the trained network does to it."""
    value = found["figures"][contender].get(name)
    if value is None:
        return "–"
    low, high = found["intervals"][contender][name]
    said = f"{value:.1f} [{low:.1f}, {high:.1f}]"
    against = found["differences"].get(contender, {}).get(name)
    return said if against is None else f"{said} {VERDICTS[against['verdict']]}"


if __name__ == "__main__":
    main()
