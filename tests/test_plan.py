"""The command `plan`: what it prints, exit codes, one line for a mistake."""

import json
import pathlib
import subprocess
import sys

import pytest

from dino_jax import plan
from dino_jax.config import Config, UserError
from dino_jax.train.planning.examples import examples_of
from tests.config.recipes import FOLDER
from tests.data.images import encoded, pixels, write_folder

ROOT = pathlib.Path(__file__).parents[1]
SMALL = (
    f"--config={FOLDER / 'vit_s16.py'}",
    "--config.model.depth=1",
    "--config.head.prototypes=1024",
    "--config.crops.local_number=2",
)


def run(*arguments: str) -> int:
    return plan.main(["plan", *arguments])


def planned(capfd: pytest.CaptureFixture[str], *arguments: str) -> dict:
    assert run(*arguments, "--json") == plan.DONE == 0
    out, err = capfd.readouterr()
    assert err == ""
    return json.loads(out)


def test_the_table_says_what_was_asked_for(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(*SMALL, "--devices=v5e:4x4") == 0
    out, err = capfd.readouterr()
    assert err == ""
    for line in (
        "1,281,167 images (imagenet2012, as published)",
        "on 16 x v5e, 64 images each",
        "memory of a device",
        "activations",
        "peak",
        "largest batch that fits",
        "FLOPs an image",
        "device-hours",
        "host cores to feed it",
        "all-reduce, gradient",
    ):
        assert line in out


def test_the_record_adds_up(capfd: pytest.CaptureFixture[str]) -> None:
    found = planned(capfd, *SMALL, "--devices=h100:8", "--examples=102400", "--config.epochs=50")
    memory = dict(found["memory"])
    peak, capacity = memory.pop("peak"), memory.pop("capacity")
    assert sum(memory.values()) == pytest.approx(peak)
    assert peak < capacity == 80e9
    assert found["steps"] == 50 * 100
    assert found["largest_batch"] % 8 == 0
    assert found["largest_batch"] >= 1024
    assert found["images_per_second"] == pytest.approx(1024 / found["step_seconds"])
    assert found["hours"] == pytest.approx(found["steps"] * found["step_seconds"] / 3600)
    assert found["device_hours"] == pytest.approx(8 * found["hours"])
    (gradient, centre) = found["collectives"]
    assert gradient["payload"] == memory["parameters"]
    assert gradient["sent"] == pytest.approx(2 * 7 / 8 * gradient["payload"])
    assert centre["payload"] == 4 * 1024


def test_what_does_not_fit_says_what_to_change(capfd: pytest.CaptureFixture[str]) -> None:
    found = planned(capfd, *SMALL, "--devices=t4", "--config.batch_size=8192")
    (line,) = [each for each in found["warnings"] if "does not fit" in each]
    best = found["largest_batch"]
    assert best < 8192
    for word in (f"batch_size {best}", "accumulate", "model.remat=blocks"):
        assert word in line
    fitting = planned(capfd, *SMALL, "--devices=t4", f"--config.batch_size={best}")
    assert fitting["memory"]["peak"] <= fitting["memory"]["capacity"]
    assert not [each for each in fitting["warnings"] if "does not fit" in each]


def test_starving_is_said(capfd: pytest.CaptureFixture[str]) -> None:
    thin = planned(capfd, *SMALL, "--devices=v5e:8x8", "--config.batch_size=64")
    assert any("1 images a pass" in each for each in thin["warnings"])
    hungry = planned(
        capfd, *SMALL, "--devices=h100:8", "--config.precision=bfloat16",
        "--config.model.width=96", "--config.model.heads=3",
    )  # fmt: skip
    assert any("wait for images" in each for each in hungry["warnings"])


def test_images_are_counted_where_they_are(
    tmp_path: pathlib.Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = write_folder(tmp_path / "p", {f"{i}.png": encoded(pixels(i)) for i in range(40)})
    found = planned(
        capfd, *SMALL, "--devices=h100", f"--config.data.train=folder:{folder}",
        "--config.batch_size=8",
    )  # fmt: skip
    assert found["examples"] == 38


def test_the_number_of_known_images() -> None:
    config = Config()
    for spec, wanted in (
        ("tfds:imagenet2012:train", 1_281_167),
        ("tfds:cifar10", 50_000),
        ("tfds:imagenette/320px-v2:train", 9_469),
    ):
        config.data.train = spec
        assert examples_of(config, None)[0] == wanted
        assert examples_of(config, 7) == (7, "as given")


def test_what_cannot_be_counted_says_how_to_say_it(tmp_path: pathlib.Path) -> None:
    config = Config()
    config.data.train = f"folder:{tmp_path / 'absent'}"
    with pytest.raises(UserError, match="by --examples=N"):
        examples_of(config, None)


MISTAKES = {
    "no devices": ((), "--devices is missing"),
    "misspelt device": (("--devices=h10:8",), "did you mean h100?"),
    "no such grid": (("--devices=v5e:16x17",), "no grid '16x17': v5e has 1x1"),
    "no images": (("--devices=h100", "--examples=0"), "--examples=0: expected 1 or more"),
    "few images": (("--devices=h100", "--examples=10"), "more than the 10 images"),
    "many": (("--devices=h100", "--examples=x"), "flag --examples=x"),
    "batch and devices": (("--devices=h100:7",), "use 1022 or 1029"),
    "too many devices": (("--devices=h100:8", "--config.devices=9"), "this run has 8"),
    "compile a GPU": (("--devices=h100:8", "--compile"), "--compile is for TPUs"),
    "unknown field": (("--devices=h100", "--config.batchsize=3"), "did you mean batch_size?"),
    "unknown flag": (("--devices=h100", "--exmples=3"), "exmples"),
    "a wrong value": (("--devices=h100", "--config.model.remat=all"), "one of none, dots, blocks"),
    "no size": (("--devices=h100", "--config.crops.global_size=None"), "global_size=224"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_and_exit_code_2(
    mistake: str, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments, said = MISTAKES[mistake]
    assert run(*SMALL, *arguments) == plan.MISTAKE == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert said in err


def test_help_and_no_config(capfd: pytest.CaptureFixture[str]) -> None:
    assert run("--help") == 0
    assert capfd.readouterr().out.startswith("usage: python -m dino_jax.plan --config=FILE.py")
    assert run("--devices=cpu") == 2
    assert "--config" in capfd.readouterr().err


def test_a_mistake_in_the_command_line_is_answered_before_jax_is_loaded() -> None:
    program = (
        "import sys; from dino_jax import plan; "
        f"code = plan.main(['x', '{SMALL[0]}', '--devices=h10']); "
        "sys.exit(code if 'jax' not in sys.modules else 9)"
    )
    ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False)
    assert ended.returncode == 2
