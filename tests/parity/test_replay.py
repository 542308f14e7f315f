"""The first twelve steps of the stored CIFAR-10 run, from our configuration to the losses.

The crops are those the original was given, so everything but the drawing of crops is compared:
the schedules as a configuration resolves them, normalisation, both passes, loss, centre, clip,
AdamW with the frozen last layer, and the teacher.
"""

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.curve import config_of
from benchmarks.curve_setting import Setting
from dino_jax.config import resolve
from dino_jax.ops.photometric import normalise
from dino_jax.train.method import build_method, init_state
from dino_jax.train.step import make_train_step
from tests import golden


def test_twelve_steps_of_the_stored_run() -> None:
    run = golden.arrays("curve_fast_replay.npz")
    stored = golden.read_json("curve_fast.json")
    weights = golden.arrays("curve_fast_init.npz")
    resolved = resolve(
        config_of(Setting(), seed=0, blur=False), examples=40_000, platform="cpu", device_count=1
    )
    data = resolved.config.data
    method = build_method(resolved)._replace(
        crops=lambda batch: (
            [normalise(batch[name], data.mean, data.std) for name in ("views", "locals")],
            None,
        )
    )
    params = {name: jnp.asarray(value) for name, value in weights.items()}
    state = init_state(method, resolved, params)
    assert set(state.student) == set(weights)
    step = jax.jit(make_train_step(method))
    for i in range(stored["config"]["replay"]):
        crops = [jnp.asarray(run[f"{i}/crop{j}"]) for j in range(6)]
        batch = {"views": jnp.stack(crops[:2], axis=1), "locals": jnp.stack(crops[2:], axis=1)}
        state, metrics = step(state, batch)
        assert golden.relative_error(metrics["loss"], run[f"{i}/loss"]) <= 1e-5, i
        assert np.isclose(metrics["learning_rate"], stored["lr"][i], rtol=1e-6, atol=0)
        assert np.isclose(metrics["weight_decay"], stored["wd"][i], rtol=1e-6, atol=0)
        centre = np.linalg.norm(np.asarray(state.target_state, np.float64))
        assert golden.relative_error(centre, run[f"{i}/center_norm"]) <= 1e-5, i
        for role in ("student", "teacher"):
            norms = [np.linalg.norm(np.asarray(getattr(state, role)[n])) for n in run["names"]]
            assert golden.relative_error(norms, run[f"{i}/{role}_norms"]) <= 1e-5, (i, role)
