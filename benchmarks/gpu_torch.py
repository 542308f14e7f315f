"""The worker of `benchmarks.gpu` that runs the PyTorch contenders."""

import gc
import time
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody reads

from benchmarks.torch_dino import Contender
from benchmarks.worker import serve
from benchmarks.workload import Workload, synthetic_batch

GIB = 1024**3
PRECISION = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": None}


class Running:
    """A contender with its batches on the host, pinned where there is a GPU."""

    def __init__(self, work: Workload, manner: str, precision: str, device: str) -> None:
        self.work, self.device = work, device
        chosen = PRECISION[precision]
        self.contender = Contender(work, manner=manner, device=device, precision=chosen)
        self.batches = [
            {
                name: torch.from_numpy(value).pin_memory()
                if device == "cuda"
                else torch.from_numpy(value)
                for name, value in synthetic_batch(work, seed).items()
            }
            for seed in (0, 1)
        ]

    def steps(self, count: int, *, resident: bool) -> float:
        """Seconds of `count` steps; each brings its batch from the host unless `resident`."""
        kept = [self._placed(batch) for batch in self.batches]
        _wait(self.device)
        loss = torch.zeros(())
        started = time.perf_counter()
        for index in range(count):
            batch = kept[index % 2] if resident else self._placed(self.batches[index % 2])
            loss = self.contender.step(batch)
        value = float(loss)
        _wait(self.device)
        passed = time.perf_counter() - started
        if not np.isfinite(value):
            raise FloatingPointError(f"the loss is {value}")
        return passed

    def _placed(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {name: value.to(self.device, non_blocking=True) for name, value in batch.items()}


class Theirs:
    """The contenders by name; between turns each gives its activations' memory back."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.running: dict[str, Running] = {}
        if device == "cuda":
            torch.backends.cudnn.benchmark = True

    def build(self, specs: list[dict[str, Any]]) -> dict[str, Any]:
        """Build and warm up; a batch that does not fit is halved until it does."""
        report: dict[str, Any] = {}
        for spec in specs:
            fields, started, made = dict(spec["work"]), time.perf_counter(), None
            while made is None:
                made = self._tried(spec, Workload(**fields))
                _release(self.device)  # only here is the failed try's memory no longer held
                if made is None:
                    fields["batch"] //= 2
            self.running[spec["name"]] = made
            report[spec["name"]] = {
                "batch": made.work.batch,
                "compile_s": round(time.perf_counter() - started, 1),
                "peak_gib": _peak(self.device),
            }
        return report

    def _tried(self, spec: dict[str, Any], work: Workload) -> Running | None:
        _reset_peak(self.device)
        try:
            made = Running(work, spec["manner"], spec["precision"], self.device)
            made.steps(3, resident=True)
        except torch.OutOfMemoryError:
            if work.batch == 1:
                raise
            return None
        return made

    def run(self, name: str, seconds: float, *, resident: bool = False) -> dict[str, Any]:
        """Run for about `seconds`."""
        running = self.running[name]
        running.steps(1, resident=True)
        once = running.steps(1, resident=resident)
        count = max(2, round(seconds / once))
        passed = running.steps(count, resident=resident)
        _release(self.device)
        return {
            "batch": running.work.batch,
            "steps": count,
            "images_per_second": count * running.work.batch / passed,
        }

    def drop(self, name: str) -> dict[str, Any]:
        """Forget a contender and give all its memory back."""
        del self.running[name]
        _release(self.device)
        return {}

    def attention(self, shapes: list[list[int]]) -> dict[str, Any]:
        """Milliseconds, forward and backward, of the fused attention at (batch, N, heads, D)."""
        return {"rows": [{"shape": s, "ms": self._attention_ms(tuple(s))} for s in shapes]}

    def _attention_ms(self, shape: tuple[int, ...]) -> float:
        batch, tokens, heads, depth = shape
        size = (batch, heads, tokens, depth)
        options = {"device": self.device, "dtype": torch.bfloat16, "requires_grad": True}
        query, key, value = (torch.randn(size, **options) for _ in range(3))
        back = torch.randn(size, device=self.device, dtype=torch.bfloat16)

        def both() -> None:
            out = F.scaled_dot_product_attention(query, key, value)
            torch.autograd.grad(out, (query, key, value), back)

        times = []
        for _ in range(6):  # the first warms up
            started = time.perf_counter()
            for _ in range(10):
                both()
            _wait(self.device)
            times.append((time.perf_counter() - started) / 10)
        return 1000 * float(np.median(times[1:]))


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def _reset_peak(device: str) -> None:
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()


def _peak(device: str) -> float | None:
    return torch.cuda.max_memory_allocated() / GIB if device == "cuda" else None


def _release(device: str) -> None:
    gc.collect()
    if device == "cuda":
        torch.cuda.empty_cache()


def main() -> None:
    """Serve until the parent closes the input."""
    theirs = Theirs("cuda" if torch.cuda.is_available() else "cpu")
    if theirs.device == "cuda":
        torch.cuda.set_per_process_memory_fraction(0.42)
    serve(
        {
            "machine": lambda: {"torch": torch.__version__},
            "build": theirs.build,
            "run": theirs.run,
            "drop": theirs.drop,
            "attention": theirs.attention,
        }
    )


if __name__ == "__main__":
    main()
