"""The protocol from folders to a report: what it learns, how it resumes, what it refuses."""

import contextlib
import json
import pathlib
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh

from dino_jax.config import UserError
from dino_jax.data.evaluation import eval_image
from dino_jax.evals.classes import open_labelled
from dino_jax.evals.encoder import Encoder, open_encoder
from dino_jax.evals.finetune import run as runs
from dino_jax.evals.finetune.records import Curve, read_curve
from dino_jax.evals.finetune.score import Scorer
from dino_jax.evals.finetune.step import Training
from dino_jax.evals.protocol import Report
from dino_jax.evals.protocols import finetune
from dino_jax.interop.spec import open_weights
from dino_jax.interrupt import Interrupted
from tests.evals.finetune import tiny


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("finetune")
    tiny.images(folder / "train", 8)
    tiny.images(folder / "val", 3)
    return folder


@pytest.fixture(scope="module", autouse=True)
def compiled_once() -> Iterator[None]:
    """Runs of one recipe share their compiled step: to compile is all that takes time here."""
    compiled, kept = runs.compiled_step, {}

    def step(training: Training, mesh: Mesh) -> Callable:
        key = training.recipe, training.steps, training.warmup_steps
        if key not in kept:
            kept[key] = compiled(training, mesh)
        return kept[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runs, "compiled_step", step)
        yield


@pytest.fixture(scope="module")
def network(place: pathlib.Path) -> Encoder:
    return tiny.encoder(place / "weights")


def run(network: Encoder, place: pathlib.Path, out: str, **options: object) -> Report:
    data, val = (f"folder:{place / name}" for name in ("train", "val"))
    return finetune.run(tiny.request(network, data, val, place / out, **options))


@pytest.fixture(scope="module")
def whole(network: Encoder, place: pathlib.Path) -> Report:
    return run(network, place, "whole")


def folder_of(report: Report) -> pathlib.Path:
    return report.files[0].parent


def curve(folder: pathlib.Path) -> list[dict]:
    return [{k: v for k, v in line.items() if k != "seconds"} for line in read_curve(folder)]


def test_colours_are_learnt(network: Encoder, place: pathlib.Path) -> None:
    report = run(
        network, place, "learnt", recipe="small", epochs=20.0, mix_group=None, repeats=1, ema=0.0,
        batch_size=8, rate_of=8, eval_every=10.0,
    )  # fmt: skip
    assert report.samples["top1"].value > 80
    assert report.samples["top5"].value == 100
    assert set(report.samples) == {"top1", "top5"} == set(report.titles)
    assert report.samples["top1"].units.dtype == bool
    assert len(report.samples["top1"].units) == 9
    lines = read_curve(folder_of(report))
    assert lines[-1]["step"] == report.values["steps"] == 60
    assert [line["step"] for line in lines if "top1" in line] == [30, 60]
    assert lines[-1]["loss"] < lines[0]["loss"]


def test_the_report_tells_the_recipe_and_scores_the_average_beside(whole: Report) -> None:
    assert set(whole.samples) == {"top1", "top5", "average_top1", "average_top5"}
    assert "mixup 0.8" in whole.notes[0]
    assert whole.values["recipe"]["mixup"] == 0.8
    assert all(path.exists() for path in whole.files)
    assert json.loads((folder_of(whole) / "classes.json").read_text()) == ["blue", "green", "red"]


@pytest.mark.parametrize("which", [".", "average"])
def test_what_is_written_is_what_was_scored(whole: Report, place: pathlib.Path, which: str) -> None:
    """Through the readers of weights: features by the encoder, then its classifier."""
    folder = folder_of(whole) / which
    opened = open_weights(str(folder)).network()
    assert opened.classifier["weight"].shape == (3, 16)
    encoder = open_encoder(str(folder))
    assert encoder.size == tiny.SIZE
    data, val = (f"folder:{place / name}" for name in ("train", "val"))
    held = open_labelled(data, val, channels=3)
    size = tiny.SIZE
    images = np.stack([eval_image(held.val.load(i), size=size) for i in range(len(held.val))])
    features = encoder.features(encoder.params, encoder.prepared(jnp.asarray(images))).cls
    logits = features @ encoder.classifier["weight"].T + encoder.classifier["bias"][None, :]
    name = "top1" if which == "." else "average_top1"
    hits = np.asarray(logits).argmax(axis=1) == held.val_labels
    assert np.array_equal(hits, whole.samples[name].units)


def stopping(at: int) -> Callable[[], contextlib.AbstractContextManager]:
    """A stand-in for the signals: says so after `at` steps."""

    @contextlib.contextmanager
    def listening() -> Iterator[Callable[[], bool]]:
        count = 0

        def stop() -> bool:
            nonlocal count
            count += 1
            return count == at

        yield stop

    return listening


def test_an_interrupted_run_goes_on_to_the_same_bits(
    whole: Report, network: Encoder, place: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twice, the first time not where a checkpoint is due."""
    with monkeypatch.context() as patch:
        patch.setattr(runs, "interruptible", stopping(2))
        with pytest.raises(Interrupted, match="run the same command to go on"):
            run(network, place, "cut", save_every=2.0)
    again = run(network, place, "cut", save_every=2.0)
    for one, other in zip(whole.files, again.files, strict=True):
        if one.suffix != ".jsonl":
            assert one.read_bytes() == other.read_bytes(), one.name
    assert curve(folder_of(whole)) == curve(folder_of(again))
    for name, sample in whole.samples.items():
        assert np.array_equal(sample.units, again.samples[name].units)


def test_a_finished_run_is_reported_again_without_a_step(
    whole: Report, network: Encoder, place: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "compiled_step", None)
    again = run(network, place, "whole")
    assert again.values == whole.values
    assert again.samples["top1"].value == whole.samples["top1"].value


def test_another_recipe_in_the_same_folder_is_refused(
    whole: Report, network: Encoder, place: pathlib.Path
) -> None:
    with pytest.raises(UserError, match=r"has mixup 0\.8, and this command says 0\.5"):
        run(network, place, "whole", mixup=0.5)


def test_a_class_missing_in_val_is_noted_and_said_before_training(
    network: Encoder, place: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    val = tiny.images(place / "two", 2, "red", "blue")
    asked = tiny.request(network, f"folder:{place / 'train'}", val, place / "noted")
    prepared, notes = finetune.prepare(asked)
    assert notes == (f"{val} has no image of the class green.",)
    assert [record.getMessage() for record in caplog.records] == list(notes)
    assert set(prepared.data.val_labels) == {0, 2}
    assert prepared.data.classes == ("blue", "green", "red")


def test_what_cannot_be_trained_is_refused(network: Encoder, place: pathlib.Path) -> None:
    train, out = f"folder:{place / 'train'}", place / "refused"
    grey = tiny.images(place / "grey", 2, "grey", "red")
    flat = f"folder:{place / 'val' / 'red'}"
    one = tiny.images(place / "one" / "train", 8, "red")

    def refused(said: str, one: Encoder, data: str, val: str, **options: object) -> None:
        with pytest.raises(UserError, match=said):
            finetune.run(tiny.request(one, data, val, out, **options))

    refused("has no image of the class 'grey', and", network, train, grey)
    refused("has no labels: expected a folder to each class", network, train, flat)
    refused("has no labels", network, one, one)
    refused("fewer than one batch of 32", network, train, train, batch_size=32)
    refused("1 devices times --accumulate=3", network, train, train, accumulate=3)
    refused("--log-every=0: expected more than 0", network, train, train, log_every=0)
    refused("pixels is no network to train", open_encoder("pixels", size=16), train, train)
    refused("--size=20: expected a multiple", open_encoder(network.spec, size=20), train, train)
    assert not out.exists()


def test_another_size_starts_from_interpolated_positions(network: Encoder) -> None:
    larger = open_encoder(network.spec, size=32)
    found = runs.network_of(larger)
    assert found.size == (32, 32)
    assert found.params["backbone.pos_embed"].shape == (1, 17, 16)
    assert runs.network_of(network).params["backbone.pos_embed"].shape == (1, 5, 16)


def test_places_among_the_logits() -> None:
    """Of equal logits the lower class comes first; six classes, so that five are not all."""
    rows = np.array([[0, 1, 2, 3, 4, 5], [1, 1, 1, 1, 1, 1], [9, 9, 0, 0, 0, 0]] * 3, np.float32)
    labels = np.array([0, 0, 1, 5, 5, 0, 1, 4, 2])
    scorer = Scorer.__new__(Scorer)
    scorer._labels, scorer._images = labels, type("Rows", (), {"index": np.arange(9)})()
    scorer._logits = lambda leaves, images: rows
    hits = scorer({"x": jax.numpy.zeros(1)})
    order = [np.argsort(-row, kind="stable").tolist() for row in rows]
    assert hits.top1.tolist() == [o[0] == k for o, k in zip(order, labels, strict=True)]
    assert hits.top5.tolist() == [k in o[:5] for o, k in zip(order, labels, strict=True)]


def test_a_curve_drops_what_lies_beyond_and_what_is_cut_short(tmp_path: pathlib.Path) -> None:
    first = Curve(tmp_path, resumed_at=0)
    for step in (1, 2, 3):
        first.write({"step": step, "loss": step / 3})
    path = tmp_path / "metrics.jsonl"
    path.write_text(path.read_text() + '{"step": 4, "lo')
    Curve(tmp_path, resumed_at=2).write({"step": 3, "loss": 0.5})
    assert [line["step"] for line in read_curve(tmp_path)] == [1, 2, 3]
    assert read_curve(tmp_path)[2]["loss"] == 0.5
