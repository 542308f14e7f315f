import logging
import os
import pathlib
import pickle
import tarfile

import numpy as np
import pytest

from dino_jax.config import UserError
from dino_jax.data.decode import UnreadableImageError
from dino_jax.data.source import Source, classes_of_paths
from dino_jax.data.sources import open_source
from tests.data.images import encoded, pixels, write_folder, write_tar

IMAGES = [pixels(seed, (8, 9, 3)) for seed in range(5)]
FILES = [encoded(image) for image in IMAGES]
CLASSED = {"b/2.png": FILES[2], "a/1.png": FILES[1], "a/0.png": FILES[0], "b/note.txt": b"text"}
ARCHIVES = ["x.tar", "x.tar.gz", "x.tgz", "x.tar.bz2", "x.tar.xz"]


def check_classed(source: Source, prefix: str = "") -> None:
    assert len(source) == 3
    assert source.class_names == ("a", "b")
    assert source.labels is not None
    assert source.labels.tolist() == [0, 0, 1]
    assert [source.label(index) for index in range(3)] == [0, 0, 1]
    assert [source.name(k) for k in range(3)] == [
        prefix + name for name in ("a/0.png", "a/1.png", "b/2.png")
    ]
    for index in range(3):
        np.testing.assert_array_equal(source.load(index), IMAGES[index])


@pytest.mark.parametrize("form", ["folder:{}", "{}"])
def test_class_folders(tmp_path: pathlib.Path, form: str) -> None:
    write_folder(tmp_path, CLASSED)
    source = open_source(form.format(tmp_path))
    check_classed(source)
    check_classed(pickle.loads(pickle.dumps(source)))


@pytest.mark.parametrize("name", ARCHIVES)
@pytest.mark.parametrize("prefix", ["", "./", "photos/train/"])
def test_class_folders_in_archives(tmp_path: pathlib.Path, name: str, prefix: str) -> None:
    path = write_tar(tmp_path / name, {prefix + key: value for key, value in CLASSED.items()})
    for spec in (f"tar:{path}", str(path)):
        source = open_source(spec)
        check_classed(source, prefix.removeprefix("./"))
        check_classed(pickle.loads(pickle.dumps(source)), prefix.removeprefix("./"))


@pytest.mark.parametrize("name", ["x.tar", "x.tgz"])
def test_a_folder_inside_an_archive(tmp_path: pathlib.Path, name: str) -> None:
    files = {
        f"top/{split}/{key}": value for split in ("train", "val") for key, value in CLASSED.items()
    }
    path = write_tar(tmp_path / name, files)
    for spec in (f"tar:{path}/train", f"{path}/train", f"tar:{path}/top/train"):
        check_classed(open_source(spec), "top/train/")
    for absent in ("test", "top/a/0.png"):
        with pytest.raises(UserError, match=rf"no folder {absent} in the .* which has top/ at"):
            open_source(f"tar:{path}/{absent}")


@pytest.mark.parametrize("name", ["x.tar", "x.tgz"])
def test_what_is_at_the_top_of_an_archive_is_named_in_part(
    tmp_path: pathlib.Path, name: str
) -> None:
    files = {f"./{letter}/0.png": FILES[0] for letter in "gfedcba"} | {"./.hidden": b""}
    path = write_tar(tmp_path / name, files | {"./0.txt": b"text"})
    with pytest.raises(UserError, match=r"has 0\.txt, a/, b/, c/, d/ and 3 more at its top"):
        open_source(f"tar:{path}/h")


def test_an_empty_folder_inside_an_archive_is_there(tmp_path: pathlib.Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        folder = tarfile.TarInfo("./top/empty")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
    with pytest.raises(UserError, match=r"holds no images \(it is empty\)"):
        open_source(f"tar:{tmp_path}/x.tar/empty")


UNREAD = (
    *("a/3.HEIC", "a/4.heic", "b/5.dng"),
    *("a/._3.heic", ".hidden.heic", ".hidden/6.heic", "__MACOSX/a/7.heic"),  # not seen
)


@pytest.mark.parametrize("place", ["folder", *ARCHIVES])
@pytest.mark.parametrize(
    ("added", "told"),
    [
        (UNREAD, "2 .heic and 1 .dng files, which cannot be read; convert them to JPEG or PNG"),
        (UNREAD[2:], "1 .dng file, which cannot be read; convert it to JPEG or PNG"),
        (
            (*UNREAD, "b/6.nef", "b/7.nef", "b/8.nef"),
            "3 .nef, 2 .heic and 1 .dng files, which cannot be read; convert them to JPEG or PNG",
        ),
        (UNREAD[3:], None),
    ],
)
def test_images_of_kinds_not_read_are_counted_in_one_warning(
    tmp_path: pathlib.Path,
    caplog: pytest.LogCaptureFixture,
    place: str,
    added: tuple[str, ...],
    told: str | None,
) -> None:
    files = CLASSED | dict.fromkeys(added, b"x") | {"notes.txt": b"text"}
    path = tmp_path / place
    is_folder = place == "folder"
    (write_folder if is_folder else write_tar)(path, files)
    with caplog.at_level(logging.WARNING):
        check_classed(open_source(str(path)))
    start = f"{'folder' if is_folder else 'archive'} {path}: left out "
    assert caplog.messages == ([start + told] if told else [])


@pytest.mark.parametrize("kind", ["embedded", "folder", "tar", "tfds", "arrayrecord"])
@pytest.mark.parametrize("blank", ["", "  "])
def test_a_source_with_nothing_after_the_colon_is_not_the_current_folder(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, kind: str, blank: str
) -> None:
    monkeypatch.chdir(write_folder(tmp_path, CLASSED))
    with pytest.raises(UserError, match=f"^{kind}:.* nothing after the colon; expected {kind}:"):
        open_source(f"{kind}:{blank}")
    with pytest.raises(UserError, match=r"^the source of images is empty"):
        open_source(blank)


@pytest.mark.parametrize(
    ("paths", "classes"),
    [
        (["0.jpg", "1.jpg"], ()),  # flat
        (["all/0.jpg", "all/1.jpg"], ()),  # flat: one folder is no classification
        (["a/0.jpg", "1.jpg"], ()),  # a heap, partly sorted
        (["a/x/0.jpg", "b/1.jpg"], ()),  # nested
        (["2020/05/0.jpg", "2021/06/1.jpg"], ()),
        (["root/a/0.jpg", "root/b/1.jpg"], ("a", "b")),
        (["train/b/0.jpg", "train/a/1.jpg"], ("a", "b")),
        ([], ()),
    ],
)
def test_folders_are_classes_only_one_below_what_all_share(
    paths: list[str], classes: tuple[str, ...]
) -> None:
    names, labels = classes_of_paths(paths)
    assert names == classes
    assert (labels is None) == (not classes)


def test_an_unlabelled_heap_in_the_order_of_its_paths(tmp_path: pathlib.Path) -> None:
    names = ["a b/0.png", "a/1.png", "ä/b/2.png", "0.png"]
    write_folder(tmp_path, dict(zip(names, FILES, strict=False)))
    write_folder(tmp_path, {".hidden/x.png": FILES[0], "a/._1.png": FILES[0]})
    source = open_source(f"folder:{tmp_path}")
    # Folder by folder, as torchvision does; a plain sort would put "a b/" before "a/".
    assert [source.name(k) for k in range(4)] == ["0.png", "a/1.png", "a b/0.png", "ä/b/2.png"]
    assert source.labels is None
    assert source.label(0) is None
    assert source.class_names == ()


def test_links_are_followed_once(tmp_path: pathlib.Path) -> None:
    write_folder(tmp_path / "elsewhere", {"0.png": FILES[0]})
    root = write_folder(tmp_path / "root", {"a/1.png": FILES[1]})
    (root / "linked").symlink_to(tmp_path / "elsewhere")
    (root / "a" / "loop").symlink_to(root)
    source = open_source(f"folder:{root}")
    assert [source.name(k) for k in range(len(source))] == ["a/1.png", "linked/0.png"]


def test_training_and_held_out_images_together_are_warned_of(
    tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_folder(tmp_path, {f"{split}/a/0.png": FILES[0] for split in ("train", "val")})
    with caplog.at_level(logging.WARNING):
        assert open_source(str(tmp_path)).labels is None
    assert "train and val together" in caplog.text
    assert f"name {tmp_path}/train or {tmp_path}/val instead" in caplog.text
    caplog.clear()
    open_source(str(tmp_path / "train"))
    assert not caplog.messages


def test_a_damaged_or_vanished_file_is_unreadable(tmp_path: pathlib.Path) -> None:
    write_folder(tmp_path, {"0.png": FILES[0][:40], "1.png": FILES[1]})
    os.mkfifo(tmp_path / "2.png")  # nobody writes into it: to open it would wait for ever
    source = open_source(str(tmp_path))
    (tmp_path / "1.png").unlink()
    for index, reason in enumerate(
        ("no image that Pillow knows", "No such file", "no regular file")
    ):
        with pytest.raises(UnreadableImageError, match=reason):
            source.load(index)


def test_a_truncated_archive_is_the_users_mistake(tmp_path: pathlib.Path) -> None:
    path = write_tar(tmp_path / "x.tar", {"0.png": FILES[0], "1.png": encoded(pixels(9))})
    content = path.read_bytes()
    (tmp_path / "y.tar").write_bytes(content[: content.index(FILES[0]) + 1100])
    with pytest.raises(UserError, match="cannot be read as a tar archive"):
        open_source(str(tmp_path / "y.tar"))


def test_channels_are_those_asked_for(tmp_path: pathlib.Path) -> None:
    write_folder(tmp_path, {"0.png": FILES[0]})
    for channels in (1, 3, 4):
        source = open_source(str(tmp_path), channels=channels)
        assert source.channels == source.load(0).shape[2] == channels


def mistakes(root: pathlib.Path) -> dict[str, str]:
    write_folder(root, {"text.txt": b"words", "phone/a.heic": b"x", "phone/b.heic": b"y"})
    (root / "empty").mkdir()
    write_tar(root / "no_images.tar", {"a.txt": b"x"})
    write_tar(root / "empty.tar", {})
    (root / "false.tar").write_bytes(b"these are words " * 99)
    (root / "false.tgz").write_bytes(FILES[0])
    return {
        f"folder:{root}/missing": "there is no folder",
        f"{root}/missing": "there is no folder",
        f"folder:{root}/empty": "holds no images (it is empty); expected JPEG",
        f"folder:{root}/text.txt": "is a file, not a folder",
        f"{root}/text.txt": "is a file, not a folder",
        f"folder:{root}/phone": "but 2 other files (most of them .heic)",
        f"tar:{root}/missing.tar": "there is no file",
        f"{root}/missing.tar": "there is no file",
        f"tar:{root}/empty": "there is no file",
        f"tar:{root}/text.txt": "cannot be read as a tar archive",
        f"tar:{root}/false.tar": "cannot be read as a tar archive",
        f"tar:{root}/false.tgz": "cannot be read as a tar archive",
        f"tar:{root}/no_images.tar": "holds no images",
        f"tar:{root}/empty.tar": "holds no images (it is empty)",
        f"arrayrecord:{root}/*.array_record": "no file matches",
        f"arrayrecord:{root}/text.txt": "no ArrayRecord files",
        "": "the source of images is empty",
        "zip:/x": "no source of the kind 'zip'",
        "embedded:paintings": "not among the embedded sources",
        "embedded:photos:test": "not among the embedded sources",
        "embedded:photos:400": "too large",
        "tfds:no_such_data_set": "knows no data set no_such_data_set",
        "tfds::test": "not of the form",
    }


def test_each_mistake_is_one_clear_line(tmp_path: pathlib.Path) -> None:
    for spec, reason in mistakes(tmp_path).items():
        with pytest.raises(UserError) as caught:
            open_source(spec)
        assert reason in str(caught.value), spec
        assert "\n" not in str(caught.value)
        assert not ("it is empty" in str(caught.value) and "convert" in str(caught.value))


def test_a_tar_of_a_thousand_files_is_read_in_any_order(tmp_path: pathlib.Path) -> None:
    files = {f"{k:04}.png": encoded(np.full((2, 2, 3), k % 256, np.uint8)) for k in range(1000)}
    source = open_source(str(write_tar(tmp_path / "x.tar", files)))
    for index in (999, 0, 500, 77):
        assert source.load(index)[0, 0, 0] == index % 256
        assert source.name(index) == f"{index:04}.png"
