"""The worker of `benchmarks.gpu` that runs our training step."""

import concurrent.futures
import time
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.ours import Trainer, config_of, device_batch, trainer
from benchmarks.worker import serve
from benchmarks.workload import Workload, synthetic_batch
from dino_jax.data.pipeline import train_iterator
from dino_jax.data.sources import open_source
from dino_jax.models.attention_gpu import attend_by
from dino_jax.train.cache import keep_compiled
from dino_jax.types import HostBatch

GIB = 1024**3
IN_FLIGHT = 4
"""Steps dispatched before the host waits for them: their batches lie in device memory."""


class Contender:
    """One compiled step and, while it runs, its state."""

    def __init__(self, work: Workload, built: Trainer, lowered: jax.stages.Lowered) -> None:
        self.work, self.built = work, built
        started = time.perf_counter()
        self.step = lowered.compile()
        self.compile_s = time.perf_counter() - started
        self.batches = [synthetic_batch(work, seed) for seed in (0, 1)]
        self.state: Any = None

    def peak_gib(self) -> float | None:
        """The compiler's count: state and batch, plus what lives within a step."""
        found = self.step.memory_analysis()
        if found is None:
            return None
        total = found.argument_size_in_bytes + found.output_size_in_bytes
        return (total - found.alias_size_in_bytes + found.temp_size_in_bytes) / GIB

    def steps(self, count: int, *, resident: bool) -> float:
        """Seconds of `count` steps; each brings its batch from the host unless `resident`."""
        kept = [device_batch(batch) for batch in self.batches]
        jax.block_until_ready(kept)
        metrics: dict[str, jax.Array] = {}
        started = time.perf_counter()
        for index in range(count):
            batch = kept[index % 2] if resident else device_batch(self.batches[index % 2])
            self.state, metrics = self.step(self.state, batch)
        loss = float(metrics["loss"])
        passed = time.perf_counter() - started
        if not np.isfinite(loss):
            raise FloatingPointError(f"the loss is {loss}")
        return passed

    def fed(self, batches: Iterator[HostBatch], seconds: float) -> dict[str, Any]:
        """Steps on these batches for about `seconds`, after three that fill the pipeline."""
        metrics: dict[str, jax.Array] = {}
        for _ in range(3):
            self.state, metrics = self.step(self.state, device_batch(next(batches)))
        jax.block_until_ready(metrics)
        count, waited, started = 0, 0.0, time.perf_counter()
        while count < 2 or time.perf_counter() - started < seconds:
            before = time.perf_counter()
            batch = next(batches)
            waited += time.perf_counter() - before
            self.state, metrics = self.step(self.state, device_batch(batch))
            count += 1
            if count % IN_FLIGHT == 0:
                jax.block_until_ready(metrics)
        jax.block_until_ready(metrics)
        passed = time.perf_counter() - started
        rate = count * self.work.batch / passed
        return {"images_per_second": rate, "steps": count, "waited": waited / passed}


class Ours:
    """Compiles many steps at once, then runs one at a time."""

    def __init__(self) -> None:
        self.contenders: dict[str, Contender] = {}

    def build(self, specs: list[dict[str, Any]]) -> dict[str, Any]:
        """Trace one after the other, compile side by side: tracing holds Python's lock."""
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            waiting = {}
            for spec in specs:
                work = Workload(**spec["work"])
                config = config_of(work, photometric=spec["photometric"])
                config.precision = spec["precision"]
                config.model.attention = spec["attention"]
                built = trainer(config, examples=max(work.batch, 1_281_167))
                state = jax.eval_shape(built.start)
                batch = jax.eval_shape(device_batch, synthetic_batch(work))
                lowered = built.step.lower(state, batch)
                waiting[spec["name"]] = pool.submit(Contender, work, built, lowered)
        report: dict[str, Any] = {}
        for name, future in waiting.items():
            if (error := future.exception()) is not None:
                report[name] = {"error": f"{type(error).__name__}: {str(error)[:300]}"}
                continue
            contender = future.result()
            self.contenders[name] = contender
            report[name] = {
                "batch": contender.work.batch,
                "compile_s": round(contender.compile_s, 1),
                "peak_gib": contender.peak_gib(),
            }
        return report

    def run(self, name: str, seconds: float, *, resident: bool = False) -> dict[str, Any]:
        """Run for about `seconds`; the first turn makes the state and warms up."""
        contender = self.contenders[name]
        if contender.state is None:
            contender.state = contender.built.start()
            contender.steps(2, resident=True)
        once = contender.steps(1, resident=resident)
        count = max(2, round(seconds / once))
        passed = contender.steps(count, resident=resident)
        return {
            "batch": contender.work.batch,
            "steps": count,
            "images_per_second": count * contender.work.batch / passed,
        }

    def real(self, name: str, folder: str, seconds: float, workers: int) -> dict[str, Any]:
        """The same step on crops that the run's own pipeline cuts of JPEG files, for `seconds`.

        Every file is read and decoded each time; `waited` is the share of the time without a batch.
        """
        contender = self.contenders[name]
        if contender.state is None:
            contender.state = contender.built.start()
        config, source = contender.built.resolved.config, open_source(folder)
        batches = train_iterator(
            source,
            config.crops,
            config.data,
            seed=0,
            batch_size=contender.work.batch,
            start_step=0,
            stop_step=100_000,
            workers=workers,
            cache_bytes=0,
        )
        try:
            return contender.fed(batches, seconds) | {"files": len(source), "workers": workers}
        finally:
            batches.close()

    def drop(self, name: str) -> dict[str, Any]:
        """Give the state's memory back."""
        self.contenders[name].state = None
        return {}

    def attention(self, shapes: list[list[int]], implementations: list[str]) -> dict[str, Any]:
        """Milliseconds, forward and backward, of each implementation at (batch, N, heads, D)."""
        return {
            "rows": [
                {"shape": shape, "implementation": name, **_attention_ms(tuple(shape), name)}
                for shape in shapes
                for name in implementations
            ]
        }

    def machine(self) -> dict[str, Any]:
        device = jax.devices()[0]
        return {
            "device": device.device_kind,
            "platform": device.platform,
            "jax": jax.__version__,
            "compile_cache": keep_compiled() is not None,
        }


def _attention_ms(shape: tuple[int, ...], implementation: str) -> dict[str, Any]:
    keys = jax.random.split(jax.random.key(0), 4)
    dtype = jnp.bfloat16
    query, key, value, back = (jax.random.normal(k, shape, dtype) for k in keys)

    def mixed(query: jax.Array, key: jax.Array, value: jax.Array) -> jax.Array:
        heads_first = (each.swapaxes(1, 2) for each in (query, key, value))
        return attend_by(implementation, *heads_first).swapaxes(1, 2)

    @jax.jit
    def both(query: jax.Array, key: jax.Array, value: jax.Array) -> Any:
        out, pull = jax.vjp(mixed, query, key, value)
        return out, pull(back)

    try:
        jax.block_until_ready(both(query, key, value))
    except Exception as error:  # a refusal is the result
        return {"refused": f"{type(error).__name__}: {str(error).splitlines()[0][:160]}"}
    times = []
    for _ in range(5):
        started = time.perf_counter()
        jax.block_until_ready([both(query, key, value) for _ in range(10)])
        times.append((time.perf_counter() - started) / 10)
    return {"ms": 1000 * float(np.median(times))}


def main() -> None:
    """Serve until the parent closes the input."""
    ours = Ours()
    serve(
        {
            "machine": ours.machine,
            "build": ours.build,
            "run": ours.run,
            "real": ours.real,
            "drop": ours.drop,
            "attention": ours.attention,
        }
    )


if __name__ == "__main__":
    main()
