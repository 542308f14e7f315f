"""The host benchmark at toy size, ours alone."""

import json
import pathlib
import time

import pytest

from benchmarks import host, host_threads
from tests.data.images import encoded, pixels, write_folder


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
    files = {f"{n}.jpg": encoded(pixels(n, (40, 50, 3)), "JPEG") for n in range(3)}
    return write_folder(tmp_path, files)


def test_every_case_says_its_ratio_and_its_error(folder, capsys):
    assert host.main([f"--images={folder}", "--rounds=1"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    cases = {line["case"]: line for line in lines}
    assert list(cases) == ["pillow", "exact", "fast", "exact, augmented on the host"]
    assert cases["pillow"]["ratio"] == 1
    assert all(line["images"] == 3 and line["ratio"] > 0 for line in lines)
    assert cases["exact"]["error"]["mean"] <= 2  # noise: what is hardest to resize
    assert cases["exact"]["against"] == "pillow"


def test_memory_is_told_at_its_marks(folder, capsys):
    assert host.main([f"--images={folder}", "--memory=12"]) == 0
    for line in capsys.readouterr().out.splitlines():
        (found,) = json.loads(line)["MiB"].values()
        assert found["this"][0] > 10


def test_the_wheels_photographs_stand_in(capsys):
    assert host.main(["--rounds=1", "--limit=2"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 4


def test_threads_that_do_not_hinder_each_other_are_twice_one():
    found = list(host_threads.unhindered(lambda: lambda number: time.sleep(0.002), 3, seconds=0.1))
    for line in found:  # none where there is no Linux to ask
        assert 1.2 < line["ratio"] < 2.8
        assert len(line["ratios"]) == 5
