"""The memory benchmark at toy size: its lines, and what must hold of them."""

import json
import pathlib

from benchmarks import memory


def test_lines_of_head_and_step(tmp_path: pathlib.Path) -> None:
    out = tmp_path / "memory.json"
    options = ["--batch=32", "--prototypes=16384", "--steps=S/16:2", "--toy", "--remat=dots"]
    assert memory.main([*options, f"--out={out}"]) == 0
    head, *steps = map(json.loads, out.read_text().splitlines())
    assert head["chunk"] == 4096
    assert head["ratio"] > 4
    assert head["ratio_with_teacher"] > 2
    assert head["temporaries_mb"]["streamed"] < head["temporaries_mb"]["previous"]
    assert [line["remat"] for line in steps] == ["dots"]
    for line in steps:
        assert line["temporaries_mb"] > 0
        assert 0 < line["reused_mb"] <= line["state_and_batch_mb"]
        assert {"command", "machine", "versions", "commit", "ratio"} <= set(line)
