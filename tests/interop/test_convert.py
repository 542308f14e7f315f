"""The conversion and its command: what is written where, whole or not at all, and every mistake."""

import errno
import json
import os
import pathlib
import subprocess
import sys

import pytest

from dino_jax import convert as command
from dino_jax.config import UserError
from dino_jax.interop import card
from dino_jax.interop.convert import FORMATS, convert
from dino_jax.interop.formats import dino
from dino_jax.interop.network import Weights
from dino_jax.interop.spec import open_weights
from tests.interop import made

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A full checkpoint, a backbone, a ResNet and a text file."""
    folder = tmp_path_factory.mktemp("weights")
    one = {"teacher": made.network(head=None)}
    weights = {
        "run": made.run(),
        "vit": Weights(one),
        "resnet": Weights({"teacher": made.network(made.RESNET, None)}),
    }
    for name, held in weights.items():
        (folder / name).mkdir()
        dino.save(held, folder / name)
    convert(str(folder / "vit"), "dino-pth", folder / "export")
    (folder / "text.txt").write_text("text")
    (folder / "thesis.pth").write_text("years of work")
    (folder / "full").mkdir()
    (folder / "full" / "photo.jpg").write_text("mine")
    return folder


def names(folder: pathlib.Path) -> set[str]:
    return {entry.name for entry in folder.iterdir()}


SIDES = {
    "orbax": {"checkpoints"},
    "dino-pth": {"checkpoint.pth"},
    "timm": {"model.safetensors"},
    "transformers": {"model.safetensors", "preprocessor_config.json"},
    "safetensors": {"model.safetensors"},
}


@pytest.mark.parametrize("to", SIDES)
def test_a_folder_holds_the_format_and_its_card(
    place: pathlib.Path, tmp_path: pathlib.Path, to: str
) -> None:
    out = tmp_path / "a" / "b" / to
    written = convert(str(place / "vit"), to, out)
    assert written.path == out
    assert names(out) == SIDES[to] | {"README.md", "config.json"}
    assert names(out.parent) == {to}
    assert json.loads((out / "config.json").read_text())["dino_jax"]["format"] == to
    one, other = open_weights(str(place / "vit")).network(), open_weights(str(out)).network()
    made.same(one.params, other.params)
    assert str(out) in written.opened


def test_a_resnet_for_torchvision(place: pathlib.Path, tmp_path: pathlib.Path) -> None:
    written = convert(str(place / "resnet"), "torchvision", tmp_path / "resnet50.pth")
    assert names(tmp_path) == {"resnet50.pth", "resnet50.README.md", "resnet50.config.json"}
    assert "torchvision.models.resnet50()" in written.opened


def test_a_file_has_its_card_beside_it(place: pathlib.Path, tmp_path: pathlib.Path) -> None:
    written = convert(str(place / "run"), "dino-pth", tmp_path / "tiny.pth")
    assert written.what.endswith("(teacher, full) as dino-pth")
    assert names(tmp_path) == {"tiny.pth", "tiny.README.md", "tiny.config.json"}
    weights = open_weights(str(tmp_path / "tiny.pth"), optimiser=True)
    made.alike(open_weights(str(place / "run"), optimiser=True), weights)
    convert(str(place / "run"), "safetensors", tmp_path / "tiny.safetensors", overwrite=True)
    one = open_weights(str(tmp_path / "tiny.safetensors")).network()
    made.same(one.params, weights.network().params)


@pytest.mark.parametrize(("suffix", "opened"), [("", "local-dir:"), (".safetensors", "load_check")])
def test_a_file_of_timm_keeps_what_its_shapes_do_not_say(
    place: pathlib.Path, tmp_path: pathlib.Path, suffix: str, opened: str
) -> None:
    out = tmp_path / f"a{suffix}"
    written = convert(str(place / "vit"), "timm", out, size=(48, 80))
    assert opened in written.opened
    assert open_weights(str(out)).network().size == (48, 80)


@pytest.mark.parametrize("how", ["suffix", "argument", "both"])
def test_the_student_by_spec_or_argument(
    place: pathlib.Path, tmp_path: pathlib.Path, how: str
) -> None:
    spec = f"{place / 'run'}{'' if how == 'argument' else ':student'}"
    network = None if how == "suffix" else "student"
    convert(spec, "dino-pth", tmp_path / "a.pth", network=network)
    student = open_weights(str(place / "run")).network("student").params
    found = open_weights(str(tmp_path / "a.pth")).network().params
    made.same(found, {name: student[name] for name in found})
    with pytest.raises(UserError, match="leave one away"):
        convert(f"{place / 'run'}:teacher", "timm", tmp_path / "b", network="student")


@pytest.mark.parametrize("to", ["orbax", "dino-pth", "safetensors"])
@pytest.mark.parametrize("chosen", ["student", "teacher"])
@pytest.mark.parametrize("how", ["suffix", "argument"])
def test_a_chosen_network_is_the_only_one_written(
    place: pathlib.Path, tmp_path: pathlib.Path, to: str, chosen: str, how: str
) -> None:
    spec = f"{place / 'run'}:{chosen}" if how == "suffix" else str(place / "run")
    convert(spec, to, tmp_path / "out", network=None if how == "suffix" else chosen)
    found = open_weights(str(tmp_path / "out"), optimiser=True)
    assert set(found.networks) == {"teacher"}
    assert found.centre is None
    assert found.optimiser is None
    one = open_weights(str(place / "run")).network(chosen).params
    made.same(found.network().params, {name: one[name] for name in found.network().params})
    card_of = json.loads((tmp_path / "out" / "config.json").read_text())["dino_jax"]
    assert card_of["network"] == chosen
    assert f"The {chosen} network" in (tmp_path / "out" / "README.md").read_text()


def test_without_a_choice_a_run_is_written_with_all_it_holds(
    place: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    for to in ("orbax", "dino-pth"):
        convert(str(place / "run"), to, tmp_path / to)
        found = open_weights(str(tmp_path / to), optimiser=True)
        assert set(found.networks) == {"student", "teacher"}
        assert found.centre is not None
        assert found.optimiser is not None


def test_writing_over_takes_only_exports_and_only_if_asked(
    place: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(UserError, match="--overwrite"):
        convert(str(place / "vit"), "timm", out)
    convert(str(place / "vit"), "timm", out, overwrite=True)
    convert(str(place / "vit"), "safetensors", out, overwrite=True)
    assert json.loads((out / "config.json").read_text())["dino_jax"]["format"] == "safetensors"
    with pytest.raises(UserError, match="it is not written over"):
        convert(str(place / "vit"), "timm", place / "full", overwrite=True)
    assert names(place / "full") == {"photo.jpg"}
    (tmp_path / "b.config.json").write_text("mine")
    with pytest.raises(UserError, match=r"b\.config\.json exists"):
        convert(str(place / "vit"), "timm", tmp_path / "b.safetensors")
    assert names(tmp_path) == {"out", "b.config.json"}


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left"), UserError("no"), KeyError]
)
@pytest.mark.parametrize("out", ["new/deep/out", "file.pth", "old"])
def test_nothing_is_left_after_a_failure(
    place: pathlib.Path,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    out: str,
    error: type,
) -> None:
    convert(str(place / "vit"), "dino-pth", tmp_path / "old")
    before = {path: path.read_bytes() for path in (tmp_path / "old").iterdir()}

    def failing(*arguments: object, **options: object) -> None:
        raise error

    monkeypatch.setattr(card, "write_card", failing)
    with pytest.raises(KeyError if error is KeyError else UserError) as caught:
        convert(str(place / "vit"), "dino-pth", tmp_path / out, overwrite=True)
    assert "\n" not in str(caught.value)
    assert names(tmp_path) == {"old"}
    assert {path: path.read_bytes() for path in (tmp_path / "old").iterdir()} == before


def test_a_full_disk_is_one_line_whatever_library_writes(
    place: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    program = (
        "import resource, sys; from dino_jax import convert; "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20480, 20480)); "
        "print([convert.main(['x', '--from=' + sys.argv[1], '--to=' + to, '--out=' + sys.argv[2] + "
        "'/new/' + to]) for to in ('orbax', 'dino-pth', 'timm', 'safetensors')])"
    )
    given = [sys.executable, "-c", program, str(place / "run"), str(tmp_path)]
    ended = subprocess.run(given, cwd=ROOT, check=False, capture_output=True, text=True)
    assert ended.stdout == "[2, 2, 2, 2]\n"
    lines = [line for line in ended.stderr.splitlines() if "projection head" not in line]
    assert len(lines) == 4, lines
    assert all(line.startswith("error: cannot write ") for line in lines)
    assert all("File too large" in line for line in lines)
    assert names(tmp_path) == set()


def test_an_interrupted_command_says_so(
    place: pathlib.Path,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    def interrupted(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(dino, "save", interrupted)
    given = [f"--from={place / 'vit'}", "--to=dino-pth", f"--out={tmp_path / 'out'}"]
    assert command.main(["x", *given]) == command.INTERRUPTED == 75
    assert capfd.readouterr().err.strip().startswith("interrupted")
    assert names(tmp_path) == set()


MISTAKES = {
    "no from": (("--to=timm", "--out={out}"), "--from is missing"),
    "no to": (("--from=x", "--out={out}"), "--to is missing"),
    "no out": (("--from=x", "--to=timm"), "--out is missing"),
    "empty from": (("--from=", "--to=timm", "--out={out}"), "--from is missing"),
    "no value": (("--from",), "Missing value"),
    "unknown flag": (("--form=x",), "did you mean --from?"),
    "surplus": (("--from=x", "--to=timm", "--out={out}", "more"), "unexpected argument more"),
    "unknown format": (("--from=x", "--to=tim", "--out={out}"), "did you mean timm?"),
    "part of timm": (("--from=x", "--to=timm", "--out={out}", "--part=full"), "only dino-pth"),
    "unknown part": (("--from=x", "--to=dino-pth", "--out={out}", "--part=head"), "part"),
    "unknown network": (("--from=x", "--to=timm", "--out={out}", "--network=best"), "network"),
    "size of orbax": (("--from=x", "--to=orbax", "--out={out}", "--size=96"), "any size"),
    "size of dino": (("--from=x", "--to=dino-pth", "--out={out}", "--size=96"), "any size"),
    "odd size": (("--from=x", "--to=timm", "--out={out}", "--size=9x9x9"), "expected pixels"),
    "size zero": (("--from=x", "--to=timm", "--out={out}", "--size=0"), "two positive numbers"),
    "small size": (("--from={at}/vit", "--to=timm", "--out={out}", "--size=8"), "no patch of 16"),
    "out there": (("--from=x", "--to=timm", "--out={at}"), "exists"),
    "out in a file": (("--from=x", "--to=timm", "--out={at}/text.txt/a"), "is a file"),
    "a file of transformers": (
        ("--from={at}/vit", "--to=transformers", "--out={out}.safetensors"),
        "opens a folder",
    ),
    "a file of another format": (
        ("--from=x", "--to=timm", "--out={out}.onnx"),
        "timm opens a folder, or a file ending in .safetensors: name one",
    ),
    "a file of ours": (("--from=x", "--to=orbax", "--out={out}.pth"), "orbax opens a folder: name"),
    "out nowhere": (("--from=x", "--to=timm", "--out=/"), "name a new folder"),
    "out of no name": (("--from=x", "--to=timm", "--out=a\0b"), "name a new folder"),
    "long out": (("--from={at}/vit", "--to=timm", "--out={out}" + "a" * 300), "too long"),
    "no such weights": (("--from={at}/absent", "--to=timm", "--out={out}"), "no file or folder"),
    "no such name": (("--from=dino_vits61", "--to=timm", "--out={out}"), "dino_vits16?"),
    "no weights": (("--from={at}/text.txt", "--to=timm", "--out={out}"), "text.txt"),
    "offline": (("--from=dino_vits16", "--to=timm", "--out={out}", "--offline"), "put it at"),
    "resnet": (("--from={at}/resnet", "--to=transformers", "--out={out}"), "convert to"),
    "vit": (("--from={at}/vit", "--to=torchvision", "--out={out}"), "convert to"),
    "half": (("--from={at}/vit", "--to=dino-pth", "--part=full", "--out={out}"), "needs student"),
    "full of one": (
        ("--from={at}/run:teacher", "--to=dino-pth", "--part=full", "--out={out}"),
        "needs student and teacher",
    ),
    "two networks": (("--from={at}/run:student:teacher", "--to=timm", "--out={out}"), "twice"),
    "one network twice": (("--from={at}/run:teacher:teacher", "--to=timm", "--out={out}"), "twice"),
    "into itself": (("--from={at}/run", "--to=timm", "--out={at}/run/new"), "lies in what is read"),
    "over itself": (
        ("--from={at}/export:teacher", "--to=timm", "--out={at}/export", "--overwrite"),
        "is what is read",
    ),
    "over what holds it": (
        ("--from={at}/export/checkpoint.pth", "--to=timm", "--out={at}/export", "--overwrite"),
        "holds what is read",
    ),
    "over others'": (
        ("--from={at}/vit", "--to=timm", "--out={at}/full", "--overwrite"),
        "full/photo.jpg is not as",
    ),
    "over a file of others'": (
        ("--from={at}/vit", "--to=dino-pth", "--out={at}/thesis.pth", "--overwrite"),
        "thesis.pth is not as",
    ),
    "student": (("--from={at}/vit:student", "--to=timm", "--out={out}"), "no student"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_and_exit_code_2(
    place: pathlib.Path,
    tmp_path: pathlib.Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    mistake: str,
) -> None:
    monkeypatch.setenv("DINO_JAX_CACHE", str(tmp_path / "cache"))
    arguments, line = MISTAKES[mistake]
    out = str(tmp_path / "out")
    given = [text.replace("{at}", str(place)).replace("{out}", out) for text in arguments]
    assert command.main(["dino_jax.convert", *given]) == command.MISTAKE == 2
    found, err = capfd.readouterr()
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert line in err
    assert found == ""
    assert names(tmp_path) == set()


def test_a_package_that_is_missing_is_said_before_anything_is_read(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install onnx"):
        convert("absent", "onnx", tmp_path / "model.onnx")


def test_the_command_says_what_it_wrote_and_how_to_open_it(
    place: pathlib.Path,
    tmp_path: pathlib.Path,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "dino_jax")
    out = tmp_path / "hf"
    given = [f"--from={place / 'run'}", "--to=transformers", f"--out={out}", "--size=96x64"]
    assert command.main(["dino_jax.convert", *given]) == command.DONE == 0
    found = capfd.readouterr().out
    assert found.splitlines() == [
        f"wrote {out}: vit_tiny of {place / 'run'} (teacher) as transformers",
        f"open it by transformers.ViTModel.from_pretrained('{out}', add_pooling_layer=False)",
    ]
    assert any("projection head" in line for line in caplog.messages)
    assert json.loads((out / "config.json").read_text())["image_size"] == [96, 64]


def test_help_says_every_format(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        command.main(["dino_jax.convert", "--help"])
    assert caught.value.code == 0
    found = capfd.readouterr().out
    assert all(name in found for name in FORMATS)
    assert "--from=dino_vits16" in found


def test_a_mistake_in_the_command_line_is_answered_before_jax_is_loaded() -> None:
    program = (
        "import sys; from dino_jax import convert; "
        "code = convert.main(['x', '--from=x', '--to=tim', '--out=x']); "
        "sys.exit(code if 'jax' not in sys.modules else 9)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, check=False, env=os.environ, capture_output=True
    )
    assert ended.returncode == 2
