"""Loss, gradient, centre and entropies of the original over consecutive steps."""

import jax
import jax.numpy as jnp
import numpy as np

from dino_jax.ops.losses import diagnostics, dino_loss
from dino_jax.ops.schedules import teacher_temperature, teacher_temperature_values
from dino_jax.ops.targets import batch_mean, centring
from tests.golden import arrays, relative_error


def batch_major(rows, crops):
    """From the original's (crops x batch, prototypes), crop by crop, to ours."""
    return jnp.asarray(rows.reshape(crops, -1, rows.shape[-1]).transpose(1, 0, 2))


def crop_major(array):
    return np.asarray(array).transpose(1, 0, 2).reshape(-1, array.shape[-1])


def step(student, teacher, centre, temperature):
    """One loss with its gradient, then the centre after it."""
    rule = centring()
    targets = rule.assign(teacher, centre, temperature)
    loss, gradient = jax.value_and_grad(dino_loss)(student, targets, temperature=0.1)
    _, after = rule.transform.update(batch_mean(teacher), centre)
    return loss, gradient, after, diagnostics(student, targets, temperature=0.1)


def test_three_consecutive_steps():
    golden = arrays("c_loss.npz")
    batch = golden["0/t"].shape[0] // 2
    crops = golden["0/s"].shape[0] // batch
    centre = centring().init(golden["0/s"].shape[-1])
    for i in range(3):
        temperature = float(golden["temp_schedule"][golden[f"{i}/epoch"]])
        student = batch_major(golden[f"{i}/s"], crops)
        teacher = batch_major(golden[f"{i}/t"], 2)
        loss, gradient, centre, found = step(student, teacher, centre, temperature)
        assert relative_error(loss, golden[f"{i}/loss"]) <= 1e-5
        assert relative_error(centre, golden[f"{i}/center"]) <= 1e-5
        assert relative_error(crop_major(gradient), golden[f"{i}/ds"]) <= 1e-5
        entropy = golden[f"{i}/teacher_entropy"]
        assert relative_error(found["teacher_entropy"], entropy) <= 1e-5
        assert relative_error(found["kl"], golden[f"{i}/loss"] - entropy) <= 1e-5


def test_huge_logits():
    golden = arrays("c_loss.npz")
    student, teacher = batch_major(golden["big/s"], 2), batch_major(golden["big/t"], 2)
    centre = centring().init(student.shape[-1])
    loss, gradient, centre, _ = step(student, teacher, centre, 0.04)
    assert float(np.abs(golden["big/s"]).max()) > 190
    assert relative_error(loss, golden["big/loss"]) <= 1e-5
    assert relative_error(crop_major(gradient), golden["big/ds"]) <= 1e-5
    assert relative_error(centre, golden["big/center"]) <= 1e-5


def test_temperature_schedules():
    golden = arrays("c_loss.npz")
    # The name holds warm-up and final temperature, warm-up epochs and epochs.
    named = {
        name: tuple(float(part) for part in name.removeprefix("sched/").split("_"))
        for name in golden
        if name.startswith("sched/")
    }
    rising = golden["temp_schedule"] < golden["temp_schedule"][-1]
    named["temp_schedule"] = (
        float(golden["temp_schedule"][0]),
        float(golden["temp_schedule"][-1]),
        int(rising.sum()) + 1,
        rising.size,
    )
    assert len(named) > 3
    for name, (warmup, final, warmup_epochs, epochs) in named.items():
        ours = teacher_temperature_values(warmup, final, warmup_epochs=warmup_epochs, epochs=epochs)
        assert ours.shape == golden[name].shape
        assert np.max(np.abs(ours - golden[name]) / golden[name]) <= 1e-12, name
        steps = 3 * int(epochs)
        in_graph = teacher_temperature(
            warmup, final, warmup_epochs=warmup_epochs, epochs=epochs, steps=steps
        )
        found = np.asarray(in_graph(jnp.arange(steps)), np.float64)
        assert np.max(np.abs(found / np.repeat(golden[name], 3) - 1)) <= 1e-6, name
