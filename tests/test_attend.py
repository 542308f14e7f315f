"""The command `attend`: what it writes, exit codes, one line for a mistake."""

import json
import pathlib
import sys
import types

import numpy as np
import pytest
from PIL import Image

from dino_jax import attend
from dino_jax.config import UserError
from dino_jax.interop import encoder as encoders
from dino_jax.viz.attend import write
from dino_jax.viz.attend.maps import attention_maps
from dino_jax.viz.attend.picture import open_pictures
from tests.data.images import encoded, pixels, write_folder
from tests.viz.attend.networks import diverged, fine, resnet, vit, xcit

SPECS = {"small": vit, "fine": fine, "xcit": xcit, "resnet": resnet, "diverged": diverged}


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which weights were opened, small ones in place of those a spec names."""
    specs: list[str] = []

    def open_encoder(spec: str, **_: object) -> encoders.Encoder:
        specs.append(spec)
        return SPECS[spec]()

    monkeypatch.setattr(encoders, "open_encoder", open_encoder)
    return specs


@pytest.fixture
def photos(tmp_path: pathlib.Path) -> pathlib.Path:
    files = {f"{k}.png": encoded(pixels(k, (20, 30, 3))) for k in range(2)}
    return write_folder(tmp_path / "photos", files | {"bad.png": b"no image"})


def run(*arguments: str) -> int:
    return attend.main(["attend", *arguments])


def test_an_untrained_network_is_shown_without_any_file_of_weights(
    photos: pathlib.Path, tmp_path: pathlib.Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "out"
    given = ("--weights=random:vit_tiny_16", f"--image={photos / '0.png'}", f"--out={out}")
    assert run(*given, "--size=32") == attend.DONE == 0
    printed, logged = capfd.readouterr()
    assert printed == f"wrote {out / '0-attention.png'}\nwrote {out / '0-attention.npz'}\n"
    assert logged == ""
    with np.load(out / "0-attention.npz") as found:
        assert found["attention"].shape == (1, 3, 2, 3)
    with Image.open(out / "0-attention.png") as page:
        assert page.width == 1800


def test_a_folder_by_two_networks_with_points_and_heads(
    photos: pathlib.Path,
    tmp_path: pathlib.Path,
    opened: list[str],
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    out = tmp_path / "out"
    given = ("--weights=small", "--compare=fine", f"--image={photos}", f"--out={out}", "--size=20")
    more = ("--point=0.5,0.5", "--point=1,0", "--heads", "--mass=0", "--block=0")
    assert run(*given, *more) == 0
    assert opened == ["small", "fine"]
    assert "skipped unreadable image bad.png" in caplog.text
    assert len(capfd.readouterr().out.splitlines()) == 8
    assert sorted(path.name for path in out.iterdir()) == [
        "0-attention.npz", "0-attention.png", "0-heads", "0-heads-1",
        "1-attention.npz", "1-attention.png", "1-heads", "1-heads-1",
    ]  # fmt: skip
    assert (out / "0-heads-1" / "point2-attn-head1.png").exists()
    with np.load(out / "0-attention.npz") as found:
        about = json.loads(found["about"].item())
        (picture,) = open_pictures(photos / "0.png", fine(), size=20)
        points = [(0.5, 0.5), (1.0, 0.0)]
        wanted = attention_maps(fine(), picture.pixels, block=0, points=points)
        np.testing.assert_array_equal(found["attention_1"], wanted)
        assert "mask" not in found
    assert [each["block"] for each in about["weights"]] == [0, 0]


def test_stats_are_a_table_and_two_files(
    photos: pathlib.Path,
    tmp_path: pathlib.Path,
    opened: list[str],
    capfd: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    assert run("--weights=small", f"--image={photos}", f"--out={out}", "--size=16", "--stats") == 0
    lines = capfd.readouterr().out.splitlines()
    assert lines[1].split() == [
        "block", "head", "distance/px", "entropy/nats", "entropy/ln", "N", "similarity",
    ]  # fmt: skip
    assert len(lines) == 2 + 4 + 1 + 1
    told = json.loads((out / "stats.json").read_text())
    assert told["images"] == ["0.png", "1.png"]
    assert {path.name for path in out.iterdir()} == {"stats.json", "stats.png"}
    del opened


def test_the_page_and_the_film_are_given_what_was_asked_for(
    photos: pathlib.Path,
    tmp_path: pathlib.Path,
    opened: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[tuple] = []

    def write_explorer(path: pathlib.Path, pictures: list, networks: list, **options: object):
        calls.append((path.name, [each.name for each in pictures], networks, options))
        return path

    def write_clip(source: pathlib.Path, out: pathlib.Path, network: object, **options: object):
        calls.append((source.name, out.name, network, options))
        return [out / "film.mp4"]

    for module, function in (("explorer", write_explorer), ("clips", write_clip)):
        fake = types.SimpleNamespace(**{function.__name__: function})
        monkeypatch.setitem(sys.modules, f"dino_jax.viz.{module}.write", fake)
    given = ("--weights=small", f"--image={photos}", f"--out={tmp_path / 'out'}", "--size=16")
    plain = {"head": None, "mass": None, "blend": 0.9, "smooth": False, "point": None}
    assert run(*given, "--html", "--compare=fine") == 0
    assert run(*given, "--html", "--block=-2") == 0
    assert calls[0] == (
        "attention.html",
        ["0.png", "1.png"],
        [vit(), fine()],
        {"blocks": None, "start": plain},
    )
    assert calls[1][3] == {"blocks": (-2,), "start": plain}
    more = ("--head=1", "--point=0.5,1", "--mass=0.3", "--blend=0.5", "--upsampling=smooth")
    assert run(*given, "--html", *more) == 0
    asked = {"head": 1, "mass": 0.3, "blend": 0.5, "smooth": True, "point": (0.5, 1.0)}
    assert calls.pop()[3] == {"blocks": None, "start": asked}
    assert run(*given, "--video", "--head=1", "--fps=12.5", "--frames", "--mass=0.6") == 0
    source, out, network, options = calls[2]
    assert (source, out, network) == ("photos", "out", vit())
    wanted = {"size": 16, "head": 1, "block": -1, "mass": 0.6, "fps": 12.5, "frames": True}
    assert options.items() >= {**wanted, "blend": 0.9, "beside": False, "square": False}.items()
    assert opened == ["small", "fine", "small", "small", "small"]


MISTAKES = {
    "no weights": ("--weights=", "--weights is missing"),
    "no such image": ("--image=absent.jpg", "there is no file or folder absent.jpg"),
    "no such video": ("--image=absent.mp4", "there is no file or folder absent.mp4: name a video"),
    "unreadable": ("--image=photos/bad.png", "photos/bad.png cannot be read as an image"),
    "among the images": ("--out=photos/new", "--out=photos/new lies among the images of photos"),
    "a file": ("--out=photos/0.png", "--image=photos/1.png", "cannot be written into"),
    "no such block": ("--block=2", "--block=2: small has 2 blocks, from 0"),
    "no such head": ("--head=2", "--head=2: small has 2 heads, from 0"),
    "a negative head": ("--head=-1", "--head=-1: small has 2 heads, from 0"),
    "no point": ("--point=100,20", "--point=100,20: expected x,y as shares of width and height"),
    "half a point": ("--point=0.5", "--point=0.5: expected x,y as shares"),
    "points of an xcit": ("--weights=xcit", "--point=0,0", "only its class token attends"),
    "stats of an xcit": ("--weights=xcit", "--stats", "is an XCiT"),
    "no attention": ("--weights=resnet", "resnet (resnet50) has no attention: give a ViT"),
    "compared without": ("--compare=resnet", "resnet (resnet50) has no attention"),
    "mass": ("--mass=60", "--mass=60: expected a share of the attention"),
    "size": ("--size=4", "--size=4: less than a patch of small, 8 pixels"),
    "no size": ("--size=0", "--size=0: expected pixels of the short side"),
    "blend": ("--blend=2", "--blend=2: expected an opacity"),
    "of videos": ("--fps=3", "--fps is of videos (or --video), and --image=photos is not that"),
    "of photographs": ("--video", "--html", "--html is of photographs, and --image=photos is"),
    "two in place": ("--html", "--stats", "--html and --stats write different things"),
    "a page of heads": ("--html", "--heads", "--html and --heads write different things"),
    "two first points": ("--html", "--point=0,0", "--point=1,1", "--html opens at one --point"),
    "stats of a block": ("--stats", "--block=0", "from every patch: --block changes nothing there"),
    "stats of a head": ("--stats", "--head=0", ": --head changes nothing"),
    "stats of a point": ("--stats", "--point=0,0", ": --point changes nothing"),
    "stats of a mass": ("--stats", "--mass=0", ": --mass changes nothing"),
    "stats and heads": ("--stats", "--heads", ": --heads changes nothing"),
    "smooth stats": ("--stats", "--upsampling=smooth", ": --upsampling changes nothing"),
    "blended stats": ("--stats", "--blend=0.5", ": --blend changes nothing"),
    "upsampling": ("--upsampling=cubic", "nearest|smooth"),
    "unknown flag": ("--heds", "did you mean --heads?"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line(
    photos: pathlib.Path,
    tmp_path: pathlib.Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    opened: list[str],
    mistake: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    *changed, line = MISTAKES[mistake]
    usual = ("--weights=small", "--image=photos", "--out=out", "--size=16")
    assert run(*usual, *changed) == attend.MISTAKE == 2
    out, err = capfd.readouterr()
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert line in err
    assert out == ""
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]
    assert len(list(photos.iterdir())) == 3
    del opened


DIVERGED = ("--weights=diverged", "features of small are not all finite: these weights diverged")
LATE = {
    "diverged": DIVERGED,
    "a page": ("--html", *DIVERGED),
    "measures": ("--stats", *DIVERGED),
    "a film": ("--video", *DIVERGED),
    "a folder there": ("out/0-attention.png cannot be written (it is a folder)",),
    "a folder for a page": ("--html", "out/attention.html cannot be written (it is a folder)"),
}


@pytest.mark.parametrize("mistake", LATE)
def test_what_goes_wrong_later_is_one_line_too(
    photos: pathlib.Path,
    tmp_path: pathlib.Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    opened: list[str],
    mistake: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    for taken in ("0-attention.png", "attention.html"):
        (tmp_path / "out" / taken).mkdir(parents=True)
    *changed, line = LATE[mistake]
    image = photos / "0.png"
    assert run("--weights=small", f"--image={image}", "--out=out", "--size=16", *changed) == 2
    *_, told = capfd.readouterr().err.splitlines()
    assert told.startswith("error: ")
    assert line in told
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    del opened


def test_trivial_descriptions_have_no_attention(
    photos: pathlib.Path, tmp_path: pathlib.Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for spec in ("pixels", "colour"):
        assert run(f"--weights={spec}", f"--image={photos}", f"--out={tmp_path / 'out'}") == 2
        assert "has no attention: give a ViT" in capfd.readouterr().err


def test_an_interruption_ends_with_its_own_code(
    photos: pathlib.Path,
    tmp_path: pathlib.Path,
    opened: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(write, "write_pictures", stopped)
    assert run("--weights=small", f"--image={photos}", f"--out={tmp_path / 'out'}") == 75
    del opened


def test_help_names_every_flag(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run("--help")
    assert ended.value.code == 0
    shown = capfd.readouterr().out
    from dino_jax.config.looking import INTEGERS, REALS, SWITCHES, WORDS

    for flag in (
        "weights",
        "image",
        "out",
        "compare",
        "point",
        *INTEGERS,
        *REALS,
        *WORDS,
        *SWITCHES,
    ):
        assert f"--{flag}" in shown, flag
    assert max(map(len, shown.splitlines())) <= 100


def test_a_mistake_in_options_is_a_user_s() -> None:
    from dino_jax.config.looking import Looking

    with pytest.raises(UserError, match="above 0"):
        Looking(("small",), "a.mp4", pathlib.Path("out"), fps=0.0)
