"""A narrow ResNet by the command: trained, interrupted, gone on with, compared, started from."""

import pathlib
import signal
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dino_jax.config.architectures import ARCHITECTURES
from dino_jax.interop.checkpoint import load_network
from dino_jax.interop.spec import load_model
from dino_jax.train.run import initial_state, prepare
from tests.e2e.command import Ended, figures, load_recipe, signalled, train

STEPS = 6


@pytest.fixture(scope="module", autouse=True)
def shallow() -> Iterator[None]:
    """One bottleneck in each layer, so that it compiles in seconds."""
    with pytest.MonkeyPatch.context() as patch:
        shallow = ARCHITECTURES["resnet50"]._replace(stages=(1, 1, 1, 1))
        patch.setitem(ARCHITECTURES, "resnet50", shallow)
        yield


@pytest.fixture(scope="module")
def fields(photos: str) -> list[str]:
    return [
        f"data.train={photos}", "model.arch=resnet50", "model.width=128", "model.depth=None",
        "model.heads=None", "model.drop_path=0.1", "optim.name=lars", "head.batch_norm=True",
        f"steps={STEPS}", f"eval_every={STEPS}", "checkpoint_every=2", "eval.baselines=True",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def whole(
    fields: list[str], tmp_path_factory: pytest.TempPathFactory
) -> tuple[pathlib.Path, Ended]:
    """A run that nothing disturbed."""
    workdir = tmp_path_factory.mktemp("whole") / "run"
    return workdir, train(workdir, *fields)


def test_it_trains_and_is_compared_without_a_picture(whole: tuple[pathlib.Path, Ended]) -> None:
    workdir, ended = whole
    assert ended.code == 0, ended.err
    lines = figures(workdir)
    assert [line["step"] for line in lines] == list(range(STEPS + 1))
    assert all(np.isfinite(line["loss"]) and not line["skipped"] for line in lines[1:])
    assert ended.err.count("no picture of attention: the model has none") == 1
    assert "trained teacher" in ended.out
    assert "attention of the teacher" not in ended.out
    assert not (workdir / "attention.png").exists()


def test_interrupted_and_run_again_it_is_as_if_nothing_had_been(
    whole: tuple[pathlib.Path, Ended], fields: list[str], tmp_path: pathlib.Path
) -> None:
    """Bit-identical, the statistics of both networks among it."""
    workdir = tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch:
        signalled(patch, 3, signal.SIGTERM)
        assert train(workdir, *fields).code == 75
    assert train(workdir, *fields).code == 0
    assert figures(workdir) == figures(whole[0])
    for network, passes in (("teacher", 1), ("student", 2)):
        ours, theirs = (load_network(each, network) for each in (workdir, whole[0]))
        for part in (0, 1):
            assert set(ours[part]) == set(theirs[part])
            for name, value in theirs[part].items():
                assert np.array_equal(ours[part][name], value), name
        assert int(ours[1]["backbone.bn1.num_batches_tracked"]) == passes * STEPS


def test_another_run_starts_from_it_with_its_statistics(
    whole: tuple[pathlib.Path, Ended], fields: list[str], tmp_path: pathlib.Path
) -> None:
    config = load_recipe(*fields, f"init_from={whole[0]}", "seed=5")
    state = initial_state(prepare(config, tmp_path / "run"))
    for network in ("teacher", "student"):
        params, stats, _ = load_network(whole[0], network)
        for name, value in (params | stats).items():
            found = getattr(state, network) | getattr(state, f"{network}_stats")
            assert np.array_equal(found[name], value), name


def test_a_loaded_network_reads_its_statistics(whole: tuple[pathlib.Path, Ended]) -> None:
    model, params, stats, _ = load_model(str(whole[0]))
    draw = np.random.default_rng(0).standard_normal
    images = jnp.asarray(draw((2, 32, 32, 3)), jnp.float32)
    fresh = {name: jnp.full_like(v, name.endswith("running_var")) for name, v in stats.items()}
    run = jax.jit(lambda stats: model.features(params | stats, images).cls)
    ours, others = run(stats), run(fresh)
    assert ours.shape == (2, 128)
    assert not np.allclose(ours, others, rtol=1e-2)
