"""Targets of exports: only ours is written over, and whatever happens, all or nothing is there."""

import errno
import json
import os
import pathlib
from collections.abc import Callable

import pytest

from dino_jax.config import UserError
from dino_jax.interop.target import beside, check_apart, check_target, put


def export(target: pathlib.Path, text: str = "first", *, overwrite: bool = False) -> None:
    """What `convert` does, with files of text."""
    single = target.suffix != ""
    check_target(target, single=single, overwrite=overwrite)
    with beside(target) as folder:
        (folder / "main.pth").write_text(text)
        (folder / "README.md").write_text(f"card of {text}")
        (folder / "config.json").write_text(json.dumps({"dino_jax": {"format": text}}))
        if not single:
            (folder / "checkpoints" / "7").mkdir(parents=True)
            (folder / "checkpoints" / "7" / "data").write_text(text)
        put(folder, target, main="main.pth" if single else "", overwrite=overwrite)


def held(folder: pathlib.Path) -> dict[str, str | None]:
    """All that a folder holds, by path; of a folder None."""
    return {
        path.relative_to(folder).as_posix(): path.read_text() if path.is_file() else None
        for path in folder.rglob("*")
    }


@pytest.mark.parametrize("name", ["out", "out.pth"])
def test_an_export_is_written_over_by_another(tmp_path: pathlib.Path, name: str) -> None:
    export(tmp_path / name)
    export(tmp_path / name, "second", overwrite=True)
    found = held(tmp_path)
    assert not any(text and text.endswith("first") for text in found.values())
    assert sum(bool(text and text.endswith("second")) for text in found.values()) >= 2
    assert not any("partial" in path or ".old" in path for path in found)
    with pytest.raises(UserError, match="--overwrite"):
        export(tmp_path / name)
    assert held(tmp_path) == found


def test_two_files_of_one_name_are_both_known(tmp_path: pathlib.Path) -> None:
    for text in ("first", "second"):
        for suffix in (".pth", ".onnx"):
            export(tmp_path / f"out{suffix}", text, overwrite=True)
    (tmp_path / "out.pth").unlink()
    export(tmp_path / "out.onnx", "third", overwrite=True)
    (tmp_path / "out.pth").write_text("mine")
    with pytest.raises(UserError, match="not written over"):
        export(tmp_path / "out.pth", overwrite=True)


def add(path: str) -> Callable[[pathlib.Path], None]:
    def adding(folder: pathlib.Path) -> None:
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text("mine")

    return adding


STRANGERS: dict[str, tuple[Callable[[pathlib.Path], object], str]] = {
    "notes": (add("notes.txt"), "notes.txt"),
    "hidden": (add(".hidden"), ".hidden"),
    "git": (add(".git/HEAD"), ".git"),
    "a checkpoint more": (add("checkpoints/8/data"), "checkpoints/8"),
    "a file of a checkpoint": (add("checkpoints/7/more"), "checkpoints/7/more"),
    "an empty folder": (lambda folder: (folder / "empty").mkdir(), "empty"),
    "a link": (lambda folder: (folder / "link").symlink_to(folder), "link"),
    "another card": (add("README.md"), "README.md"),
    "another tensor file": (add("main.pth"), "main.pth"),
    "another config": (add("config.json"), "README.md"),
    "a config of a run": (
        lambda folder: (folder / "config.json").write_text('{"dino_jax": {"format": "x"}}'),
        "README.md",
    ),
}


@pytest.mark.parametrize("what", STRANGERS)
def test_a_folder_with_anything_of_others_is_kept_and_that_named(
    tmp_path: pathlib.Path, what: str
) -> None:
    out = tmp_path / "out"
    export(out)
    disturb, name = STRANGERS[what]
    disturb(out)
    before = held(tmp_path)
    with pytest.raises(UserError, match="not written over") as caught:
        export(out, "second", overwrite=True)
    assert f"{out / name} " in str(caught.value)
    assert held(tmp_path) == before


def test_what_came_while_it_was_written_is_kept_too(tmp_path: pathlib.Path) -> None:
    out = tmp_path / "out"
    with beside(out) as folder:
        (folder / "config.json").write_text('{"dino_jax": {}}')
        add("notes.txt")(out)
        with pytest.raises(UserError, match="not written over"):
            put(folder, out, main="", overwrite=True)
    assert held(tmp_path) == {"out": None, "out/notes.txt": "mine"}


def test_a_link_to_an_export_is_not_written_over(tmp_path: pathlib.Path) -> None:
    export(tmp_path / "out")
    (tmp_path / "link").symlink_to(tmp_path / "out")
    with pytest.raises(UserError, match="not written over"):
        export(tmp_path / "link", overwrite=True)


@pytest.mark.parametrize("stranger", ["thesis.pth", "thesis.README.md", "thesis.config.json"])
@pytest.mark.parametrize("exported", [False, True])
def test_a_file_that_is_none_of_ours_is_kept(
    tmp_path: pathlib.Path, stranger: str, exported: bool
) -> None:
    if exported:
        export(tmp_path / "thesis.pth")
    (tmp_path / stranger).write_text("the work of years")
    before = held(tmp_path)
    with pytest.raises(UserError, match="not written over"):
        export(tmp_path / "thesis.pth", "second", overwrite=True)
    assert held(tmp_path) == before


RELATIONS = {
    "equal": ("run", "run"),
    "through a link": ("run", "link"),
    "above": ("run/checkpoints/7", "run"),
    "the folder of a file": ("run/a.pth", "run"),
    "inside": ("run", "run/checkpoints/99"),
    "the file": ("run/a.pth", "run/../run/a.pth"),
}


@pytest.mark.parametrize("relation", RELATIONS)
def test_nothing_is_written_over_or_into_what_is_read(
    tmp_path: pathlib.Path, relation: str
) -> None:
    (tmp_path / "run" / "checkpoints" / "7").mkdir(parents=True)
    (tmp_path / "run" / "a.pth").write_text("weights")
    (tmp_path / "link").symlink_to("run")
    source, target = RELATIONS[relation]
    with pytest.raises(UserError, match="name another place"):
        check_apart(str(tmp_path / source), tmp_path / target)
    check_apart(str(tmp_path / source), tmp_path / "apart")
    check_apart("dino_vits16", tmp_path / "run")


@pytest.mark.parametrize("step", ["99", "99/deep", "export"])
def test_nothing_is_put_among_the_checkpoints_of_a_run(tmp_path: pathlib.Path, step: str) -> None:
    folder = tmp_path / "checkpoints"
    if step != "99":
        (folder / "7").mkdir(parents=True)
    with pytest.raises(UserError, match="among the checkpoints"):
        check_target(folder / step, single=False, overwrite=True)
    check_target(tmp_path / "exports" / "checkpoints", single=False, overwrite=False)


FAULTS = [KeyboardInterrupt(), SystemExit(1), OSError(errno.EIO, "Input/output error")]


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: type(fault).__name__)
@pytest.mark.parametrize(("name", "renames"), [("out", 2), ("out.pth", 6)])
def test_an_interrupt_at_any_rename_leaves_what_was_there(
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    renames: int,
    fault: BaseException,
    late: bool,
) -> None:
    rename = pathlib.Path.rename
    export(tmp_path / name)
    before, left = held(tmp_path), 0

    def interrupted(path: pathlib.Path, place: pathlib.Path) -> pathlib.Path:
        nonlocal left
        left -= 1
        if left == 0 and not late:
            raise fault
        done = rename(path, place)
        if left == 0:
            raise fault
        return done

    monkeypatch.setattr(pathlib.Path, "rename", interrupted)
    for number in range(1, renames + 1):
        left = number
        with pytest.raises((UserError, KeyboardInterrupt, SystemExit)):
            export(tmp_path / name, "second", overwrite=True)
        assert held(tmp_path) == before, number
        (tmp_path / "new").mkdir()
        left = number - renames // 2  # nothing is there to be moved away
        if left > 0:
            with pytest.raises((UserError, KeyboardInterrupt, SystemExit)):
                export(tmp_path / "new" / name, "second")
            assert held(tmp_path / "new") == {}
        (tmp_path / "new").rmdir()
    left = renames + 1
    export(tmp_path / name, "second", overwrite=True)
    assert left == 1


def test_the_main_file_is_the_first_to_go_and_the_last_to_come(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export(tmp_path / "out.pth")
    rename, places = pathlib.Path.rename, []

    def noted(path: pathlib.Path, place: pathlib.Path) -> pathlib.Path:
        places.append((path.name, place.name))
        return rename(path, place)

    monkeypatch.setattr(pathlib.Path, "rename", noted)
    export(tmp_path / "out.pth", overwrite=True)
    assert places[0][0] == "out.pth" == places[-1][1]


def test_what_cannot_be_put_back_is_not_removed(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export(tmp_path / "out")
    rename = pathlib.Path.rename
    done: list[pathlib.Path] = []

    def broken(path: pathlib.Path, place: pathlib.Path) -> pathlib.Path:
        if done:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        done.append(place)
        return rename(path, place)

    monkeypatch.setattr(pathlib.Path, "rename", broken)
    with pytest.raises(UserError, match="what was there is in") as caught:
        export(tmp_path / "out", "second", overwrite=True)
    assert str(done[0].parent) in str(caught.value)
    assert (done[0] / "main.pth").read_text() == "first"
