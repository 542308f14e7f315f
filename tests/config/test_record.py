"""`config.json`, and which changes a resumed run accepts."""

import json
import pathlib
import re

import pytest

from dino_jax.config import (
    Config,
    Resolved,
    UserError,
    check_resume,
    compare,
    get,
    kinds,
    leaves,
    load_record,
    pin,
    resolve,
    save_record,
    set_value,
)
from dino_jax.config.kinds import IDENTITY, OPERATIONAL, RULES, SCHEDULE
from dino_jax.config.record import FILE, Record
from tests.config import recipes


def begun(tmp_path: pathlib.Path, name: str = "vit_s16", *overrides: str) -> Record:
    save_record(tmp_path, recipes.load(name, *overrides), recipes.resolved(name, *overrides))
    record = load_record(tmp_path)
    assert record is not None
    return record


def test_table_covers_every_field_and_has_no_idle_rule() -> None:
    assert kinds().keys() == leaves().keys()
    assert set(kinds().values()) == {IDENTITY, SCHEDULE, OPERATIONAL}
    deciding = {next(p for p, _ in RULES if re.search(p, path)) for path in leaves()}
    assert deciding == {pattern for pattern, _ in RULES}


@pytest.mark.parametrize(
    "path", ["seed", "batch_size", "data.mean", "head.prototypes", "augment.hue"]
)
def test_identity_of_the_run(path: str) -> None:
    assert kinds()[path] == IDENTITY


@pytest.mark.parametrize("path", ["data.workers", "log_every", "devices", "eval.knn_k", "data.val"])
def test_free(path: str) -> None:
    assert kinds()[path] == OPERATIONAL


@pytest.mark.parametrize("path", ["epochs", "steps", "optim.learning_rate", "teacher.momentum_end"])
def test_schedule(path: str) -> None:
    assert kinds()[path] == SCHEDULE


def test_compare_lists_exactly_what_differs() -> None:
    old, new = recipes.load("vit_s16"), recipes.load("vit_s16", "seed=1", "data.workers=4")
    assert compare(old, old) == []
    assert [str(change) for change in compare(old, new)] == ["seed: 0 -> 1", "data.workers: 0 -> 4"]
    assert [change.kind for change in compare(old, new)] == [IDENTITY, OPERATIONAL]


def test_record_holds_both(tmp_path: pathlib.Path) -> None:
    record = begun(tmp_path / "new" / "folder", "auto")
    assert get(record.requested, "batch_size") is None
    assert record.resolved.batch_size == 32
    assert record.examples == 50_000
    content = json.loads((tmp_path / "new" / "folder" / FILE).read_text())
    assert content["requested"]["precision"] == "auto"
    assert content["resolved"]["precision"] == "float32"
    assert [path.name for path in (tmp_path / "new" / "folder").iterdir()] == [FILE]


def test_no_record(tmp_path: pathlib.Path) -> None:
    assert load_record(tmp_path) is None


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"format_version": 1}', b"\0", b"\xff"])
def test_strange_record_is_one_line(tmp_path: pathlib.Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(UserError, match="choose another workdir"):
        load_record(tmp_path)


def test_newer_record_is_one_line(tmp_path: pathlib.Path) -> None:
    (tmp_path / FILE).write_text('{"format_version": 99}')
    with pytest.raises(UserError, match="newer than this dino_jax"):
        load_record(tmp_path)


@pytest.mark.parametrize("content", [b"[" * 100_000, b"9" * 5000])
def test_record_that_cannot_be_read_in_is_one_line(tmp_path: pathlib.Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(UserError, match="choose another workdir"):
        load_record(tmp_path)


UNUSABLE = {
    "file": "/file is a file; name a folder for --workdir",
    "file/inside": "/inside: Not a directory; name another folder for --workdir",
    "a" * 300: "a: File name too long; name another folder for --workdir",
    "nul\0": r"nul\\x00': embedded null byte; name another folder for --workdir",
    "loop": "/loop: Too many levels of symbolic links; name another",
    "two\nlines" + "b" * 300: r"two\\nlinesb*': File name too long",
}


@pytest.mark.parametrize("name", UNUSABLE, ids=lambda name: repr(name[:12]))
def test_unusable_workdir_is_one_line_before_anything_is_opened(
    tmp_path: pathlib.Path, name: str
) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for use in (load_record, lambda workdir: save_record(workdir, *asked_and_resolved())):
        with pytest.raises(UserError, match=UNUSABLE[name]) as error:
            use(tmp_path / name)
        assert str(error.value).isprintable()


def asked_and_resolved() -> tuple[Config, Resolved]:
    return recipes.load("vit_s16"), recipes.resolved("vit_s16")


def resume(record: Record, *overrides: str, examples: int = 50_000, force: bool = False) -> Config:
    """What the run goes on with."""
    asked = recipes.load("vit_s16", *overrides)
    run = resolve(pin(asked, record), examples=examples, platform="cpu")
    check_resume(record, run, force_schedule=force)
    return run.config


def test_the_same_command_goes_on(tmp_path: pathlib.Path) -> None:
    record = begun(tmp_path)
    assert resume(record) == record.resolved


def test_operational_changes_are_free(tmp_path: pathlib.Path) -> None:
    free = ("data.workers=3", "log_every=1", "eval_every=5", "accumulate=2", "eval.knn_k=5")
    config = resume(begun(tmp_path), *free, "checkpoint_every=3", "model.blocks=scanned")
    assert (config.data.workers, config.accumulate, config.model.blocks) == (3, 2, "scanned")


def test_identity_is_refused_even_by_force(tmp_path: pathlib.Path) -> None:
    record = begun(tmp_path)
    with pytest.raises(UserError) as error:
        resume(record, "seed=1", "model.patch_size=8", force=True)
    assert "seed: 0 -> 1; model.patch_size: 16 -> 8" in str(error.value)
    assert "choose another --workdir" in str(error.value)
    assert "\n" not in str(error.value)
    with pytest.raises(UserError, match=r"\(number of images: 50000 -> 49999\)"):
        resume(record, examples=49_999)
    with pytest.raises(UserError, match=r"data\.val: tfds:imagenet2012:validation -> None; number"):
        resume(record, "data.val=None", examples=49_500)


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("optim.clip=1", "optim.clip: 0.0 -> 1.0"),
        ("epochs=900", "epochs: 800.0 -> 900.0; steps: 38400 -> 43200"),
        ("steps=10", "steps: 38400 -> 10"),
        ("data.train=folder:moved", "data.train: tfds:imagenet2012:train -> folder:moved"),
    ],
)
def test_schedule_is_refused_unless_forced(
    tmp_path: pathlib.Path, override: str, line: str
) -> None:
    record = begun(tmp_path)
    with pytest.raises(UserError) as error:
        resume(record, override)
    assert line in str(error.value)
    assert "--force_schedule" in str(error.value)
    resume(record, override, force=True)


def test_picks_stay_as_they_were_on_another_machine(tmp_path: pathlib.Path) -> None:
    record = begun(tmp_path, "auto")
    asked = recipes.load("auto")

    def elsewhere(config: Config) -> Resolved:
        return resolve(config, examples=50_000, platform="gpu", device_count=4, short_side=300)

    assert elsewhere(asked).config.batch_size != record.resolved.batch_size
    run = elsewhere(pin(asked, record))
    check_resume(record, run)
    assert run.config.batch_size == record.resolved.batch_size
    assert run.config.precision == "float32"
    assert get(asked, "batch_size") is None


def test_an_override_is_not_pinned(tmp_path: pathlib.Path) -> None:
    record = begun(tmp_path, "auto")
    asked = recipes.load("auto")
    set_value(asked, "batch_size", 16)
    with pytest.raises(UserError, match="batch_size: 32 -> 16"):
        check_resume(
            record, resolve(pin(asked, record), examples=50_000, platform="cpu", short_side=300)
        )
