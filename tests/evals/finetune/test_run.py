"""The protocol from folders to a report: what it learns, how it resumes, what it refuses."""

import contextlib
import dataclasses
import json
import pathlib
from collections.abc import Callable, Iterator

import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh
from PIL import Image

from dino_jax.config import UserError
from dino_jax.data.evaluation import eval_image
from dino_jax.data.sources import open_source
from dino_jax.evals.classes import open_labelled
from dino_jax.evals.finetune import run as runs
from dino_jax.evals.finetune.metrics import Metrics
from dino_jax.evals.finetune.records import Curve, read_curve
from dino_jax.evals.finetune.score import Scorer
from dino_jax.evals.finetune.step import Training
from dino_jax.evals.protocol import Report
from dino_jax.evals.protocols import finetune
from dino_jax.interop.encoder import Encoder, open_encoder
from dino_jax.interop.spec import open_weights
from dino_jax.interrupt import Interrupted
from dino_jax.models.classifier import build_classifier
from dino_jax.train.sharding import make_mesh
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
    """And eight classes that look the same are not, so that five guesses miss some."""
    alike = [f"same{number}" for number in range(8)]
    data = tiny.images(place / "many" / "train", 4, *tiny.COLOURS, *alike)
    val = tiny.images(place / "many" / "val", 3, *tiny.COLOURS, *alike)
    asked = tiny.request(
        network, data, val, place / "learnt", recipe="small", epochs=12.0, mix_group=None,
        repeats=1, ema=0.0, batch_size=8, rate_of=8, eval_every=6.0,
    )  # fmt: skip
    report = finetune.run(asked)
    assert set(report.samples) == {"top1", "top5"} == set(report.titles)
    top1, top5 = (report.samples[name] for name in ("top1", "top5"))
    order, labels = answered(folder_of(report), data, val)
    assert top1.units.tolist() == [o[0] == k for o, k in zip(order, labels, strict=True)]
    assert top5.units.tolist() == [k in o[:5] for o, k in zip(order, labels, strict=True)]
    assert np.mean(top1.units[labels < 3]) > 0.7
    assert 25 < top1.value < top5.value < 100
    lines = read_curve(folder_of(report))
    assert lines[-1]["step"] == report.values["steps"] == 60
    assert [line["step"] for line in lines if "top1" in line] == [30, 60]
    assert lines[-1]["loss"] < lines[0]["loss"]


def test_the_report_tells_the_recipe_and_scores_the_average_beside(whole: Report) -> None:
    assert set(whole.samples) == {"top1", "average_top1"}, "top-5 of three classes says nothing"
    assert "mixup 0.8" in whole.notes[0]
    assert whole.notes[-1].endswith(f"use it as --weights={folder_of(whole)}/model.safetensors")
    assert whole.values["recipe"]["mixup"] == 0.8
    assert all(path.exists() for path in whole.files)
    assert json.loads((folder_of(whole) / "classes.json").read_text()) == ["blue", "green", "red"]


@pytest.mark.parametrize("which", [".", "average"])
def test_what_is_written_is_what_was_scored(whole: Report, place: pathlib.Path, which: str) -> None:
    """Through the readers of weights: features by the encoder, then its classifier."""
    folder = folder_of(whole) / which
    opened = open_weights(str(folder)).network()
    assert opened.classifier["weight"].shape == (3, 16)
    data, val = (f"folder:{place / name}" for name in ("train", "val"))
    order, labels = answered(folder, data, val)
    name = "top1" if which == "." else "average_top1"
    assert np.array_equal(order[:, 0] == labels, whole.samples[name].units)


def answered(folder: pathlib.Path, data: str, val: str) -> tuple[np.ndarray, np.ndarray]:
    """Of every held-out image the classes, likeliest first, by what was written; and its label."""
    encoder, held = open_encoder(str(folder)), open_labelled(data, val, channels=3)
    size = tiny.SIZE
    assert encoder.size == size
    images = np.stack([eval_image(held.val.load(i), size=size) for i in range(len(held.val))])
    features = encoder.features(encoder.params, encoder.prepared(jnp.asarray(images))).cls
    logits = features @ encoder.classifier["weight"].T + encoder.classifier["bias"][None, :]
    return np.argsort(-np.asarray(logits), axis=1, kind="stable"), held.val_labels


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


def test_other_images_or_another_normalisation_in_the_same_folder_are_refused(
    network: Encoder, place: pathlib.Path
) -> None:
    data, val = tiny.images(place / "changing", 8), f"folder:{place / 'val'}"
    asked = tiny.request(network, data, val, place / "changed")
    finetune.prepare(asked)
    finetune.prepare(asked)
    other = dataclasses.replace(network, mean=(0.1, 0.2, 0.3))
    with pytest.raises(UserError, match=r"and this command says \[0\.1, 0\.2, 0\.3\]"):
        finetune.prepare(dataclasses.replace(asked, encoder=other))
    Image.new("RGB", (30, 30)).save(place / "changing" / "red" / "3.png")
    with pytest.raises(UserError, match="is of other images than this --data") as error:
        finetune.prepare(asked)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("every", "said"),
    [
        (1.0, "the answers of .* are not all finite: these weights diverged"),
        (100.0, "the last 4 updates, up to step 4, were not finite: these weights diverged"),
    ],
)
def test_weights_that_diverged_have_no_figures(
    network: Encoder, place: pathlib.Path, every: float, said: str
) -> None:
    held = network.network
    assert held is not None
    nothing = {name: np.full_like(value, np.nan) for name, value in held.params.items()}
    broken = dataclasses.replace(network, network=held._replace(params=nothing))
    with pytest.raises(UserError, match=said) as error:
        run(broken, place, f"diverged{every:g}", eval_every=every)
    assert "\n" not in str(error.value)
    assert not list(place.glob(f"diverged{every:g}/**/model.safetensors"))


def test_only_updates_that_fail_in_a_row_end_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dino_jax.evals.finetune.metrics.PATIENCE", 3)
    told = Metrics(100, 10)

    def line(done: int, *skipped: int) -> None:
        for each in skipped:
            told.add({"loss": jnp.float32(1), "skipped": jnp.float32(each)})
        told.line(done)

    line(4, 1, 1, 0, 1)
    line(6, 1, 0)
    line(8, 1, 1)
    with pytest.raises(UserError, match="the last 3 updates, up to step 9,"):
        line(9, 1)


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


def test_a_curve_drops_what_lies_beyond_and_what_is_cut_short(tmp_path: pathlib.Path) -> None:
    first = Curve(tmp_path, resumed_at=0)
    for step in (1, 2, 3):
        first.write({"step": step, "loss": step / 3})
    path = tmp_path / "metrics.jsonl"
    path.write_text(path.read_text() + '{"step": 4, "lo')
    Curve(tmp_path, resumed_at=2).write({"step": 3, "loss": 0.5})
    assert [line["step"] for line in read_curve(tmp_path)] == [1, 2, 3]
    assert read_curve(tmp_path)[2]["loss"] == 0.5


def test_validation_images_none_of_which_can_be_read_are_one_line(
    network: Encoder, tmp_path: pathlib.Path
) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "0.png").write_bytes(b"no image")
    source = open_source(f"folder:{tmp_path}")
    mesh = make_mesh(1)
    scorer = Scorer(
        build_classifier(network.network.model, classes=2, image_size=network.size),
        network, source, np.array([0, 1]), mesh=mesh, batch_size=2,
    )  # fmt: skip
    with pytest.raises(UserError, match=r"no image of folder:.* can be read: nothing to score"):
        scorer({})
