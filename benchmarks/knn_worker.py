"""The worker of `benchmarks.knn`: one of the contenders, in a process of its own."""

import importlib
import pathlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from benchmarks.worker import serve

TEMPERATURE = 0.07
ROWS = 50_000
Answers = dict[str, np.ndarray]
"""By k, the five classes of most votes of every query; of ours under `lead K` also by what share
of the most votes the fifth leads the sixth."""

state: dict[str, Any] = {}


def features(count: int, sizes: dict[str, int], seed: int) -> Iterator[tuple[np.ndarray, ...]]:
    """Rows of length one about the classes' centres and their labels, piece by piece."""
    centres = np.random.default_rng(0).standard_normal(
        (sizes["classes"], sizes["width"]), np.float32
    )
    random = np.random.default_rng(seed)
    for start in range(0, count, ROWS):
        labels = random.integers(sizes["classes"], size=min(ROWS, count - start))
        rows = centres[labels]
        rows += 3 * random.standard_normal(rows.shape, np.float32)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        yield rows, labels


def open_contender(name: str, original: str, sizes: dict[str, int]) -> dict[str, Any]:
    """Import a contender and make the features; says how many threads it uses."""
    made = []
    for seed, part in enumerate(("bank", "queries"), start=1):
        pieces = zip(*features(sizes[part], sizes, seed), strict=True)
        made += [np.concatenate(each) for each in pieces]
    contender, threads = theirs(original, *made) if name == "original" else ours(*made)
    state["contender"] = contender
    return {"threads": threads}


def ours(
    bank: np.ndarray, bank_labels: np.ndarray, queries: np.ndarray, labels: np.ndarray
) -> tuple[Callable[..., Answers], int]:
    """Our votes and scores."""
    import os

    from dino_jax.ops.neighbours import knn_votes
    from dino_jax.ops.scores import hits

    def score(k: tuple[int, ...], *, answers: bool) -> Answers:
        found = knn_votes(queries, bank, bank_labels, k=k, temperature=TEMPERATURE)
        for votes in found.values():
            {name: 100 * each.mean() for name, each in hits(votes, labels).items()}
        told: Answers = {}
        for each, votes in found.items() if answers else ():
            told[str(each)] = np.argsort(-votes, axis=1, kind="stable")[:, :5]
            most = -np.sort(-votes, axis=1)
            told[f"lead {each}"] = (most[:, 4] - most[:, 5]) / most[:, 0]
        return told

    return score, len(os.sched_getaffinity(0))


def theirs(
    original: str,
    bank: np.ndarray,
    bank_labels: np.ndarray,
    queries: np.ndarray,
    labels: np.ndarray,
) -> tuple[Callable[..., Answers], int]:
    """The original's `knn_classifier`; answers are overheard where it sorts its votes."""
    import torch

    sys.path.insert(0, original)
    module = importlib.import_module("eval_knn")
    tensors = [torch.from_numpy(each) for each in (bank, bank_labels, queries, labels)]
    sort = torch.Tensor.sort

    def score(k: tuple[int, ...], *, answers: bool) -> Answers:
        found: Answers = {}
        for each in k:
            heard: list[Any] = []

            def listening(votes: Any, *arguments: Any, heard: list[Any] = heard) -> Any:
                done = sort(votes, *arguments)
                heard.append(done[1][:, :5].numpy())
                return done

            torch.Tensor.sort = listening if answers else sort
            try:
                module.knn_classifier(*tensors, each, TEMPERATURE)
            finally:
                torch.Tensor.sort = sort
            if answers:
                found[str(each)] = np.concatenate(heard)
        return found

    return score, torch.get_num_threads()


def score(k: list[int], keep: str) -> dict[str, Any]:
    """One turn: seconds by the clock and of the processor; the answers go to `keep`, if named."""
    used, began = time.process_time(), time.perf_counter()
    answers = state["contender"](tuple(k), answers=bool(keep))
    report = {"wall_s": time.perf_counter() - began, "processor_s": time.process_time() - used}
    if keep:
        np.savez(keep, **answers)
    return report


def write(path: str, sizes: dict[str, int]) -> dict[str, Any]:
    """Write a large bank as an `.npy` file."""
    shape = sizes["bank"], sizes["width"]
    rows = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
    fill(rows, sizes)
    rows.flush()
    return {}


def fill(rows: np.ndarray, sizes: dict[str, int]) -> np.ndarray:
    """Put a bank's features into an array; returns the labels."""
    labels = np.zeros(len(rows), np.int64)
    for start, (piece, classes) in zip(
        range(0, len(rows), ROWS), features(len(rows), sizes, 1), strict=True
    ):
        rows[start : start + ROWS], labels[start : start + ROWS] = piece, classes
    return labels


def large(path: str, sizes: dict[str, int], k: list[int]) -> dict[str, Any]:
    """Vote by a large bank, from a file or in memory; says the most this process has held."""
    from dino_jax.ops.neighbours import knn_votes

    if path:
        bank = np.load(path, mmap_mode="r")
        labels = np.random.default_rng(2).integers(sizes["classes"], size=len(bank))
    else:
        bank = np.empty((sizes["bank"], sizes["width"]), np.float32)
        labels = fill(bank, sizes)
    queries = next(features(sizes["queries"], sizes, 3))[0]
    before, began = most_held(), time.perf_counter()
    knn_votes(queries, bank, labels, k=tuple(k), temperature=TEMPERATURE)
    seconds = round(time.perf_counter() - began, 1)
    return {"before_mb": before, "peak_mb": most_held(), "wall_s": seconds}


def most_held() -> float:
    """VmHWM of this process, MB."""
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return round(int(next(li for li in lines if li.startswith("VmHWM")).split()[1]) / 1024, 1)


if __name__ == "__main__":
    serve({"open": open_contender, "score": score, "write": write, "large": large})
