"""The worker of `benchmarks.gpu` that runs our training step."""

import concurrent.futures
import contextlib
import functools
import time
from collections.abc import Iterator
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.ours import Trainer, config_of, device_batch, trainer
from benchmarks.worker import serve
from benchmarks.workload import Workload, synthetic_batch

GIB = 1024**3


@contextlib.contextmanager
def attention_by(implementation: str) -> Iterator[None]:
    """Trace every attention with `implementation` (`default`: as the model asks for it)."""
    original = jax.nn.dot_product_attention
    if implementation != "default":
        forced = functools.partial(original, implementation=cast(Any, implementation))
        setattr(jax.nn, "dot_product_attention", forced)  # noqa: B010 - a patch, said outright
    try:
        yield
    finally:
        setattr(jax.nn, "dot_product_attention", original)  # noqa: B010


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
                built = trainer(config, examples=max(work.batch, 1_281_167))
                with attention_by(spec["attention"]):
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
        }


def _attention_ms(shape: tuple[int, ...], implementation: str) -> dict[str, Any]:
    keys = jax.random.split(jax.random.key(0), 4)
    dtype = jnp.bfloat16
    query, key, value, back = (jax.random.normal(k, shape, dtype) for k in keys)
    chosen = cast(Any, None if implementation == "default" else implementation)

    @jax.jit
    def both(query: jax.Array, key: jax.Array, value: jax.Array) -> Any:
        out, pull = jax.vjp(
            lambda q, k, v: jax.nn.dot_product_attention(q, k, v, implementation=chosen),
            query,
            key,
            value,
        )
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
            "drop": ours.drop,
            "attention": ours.attention,
        }
    )


if __name__ == "__main__":
    main()
