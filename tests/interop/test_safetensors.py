"""Safetensors files: ours both ways, and what a damaged one says."""

import dataclasses
import json
import pathlib
from collections.abc import Callable

import ml_dtypes
import numpy as np
import pytest

from dino_jax.config import Config, HeadConfig, ModelConfig, UserError, to_dict
from dino_jax.interop.formats import safetensors
from dino_jax.interop.formats.safetensors import read_safetensors, write_safetensors
from dino_jax.interop.spec import open_weights
from tests.interop.networks import HEAD, RESNET, VIT, XCIT, differences, names_in, network, weights

BATCH_NORM = dataclasses.replace(HEAD, batch_norm=True, norm_last_layer=False)


@pytest.mark.parametrize(
    ("model", "size", "head", "classes"),
    [
        (VIT, (32, 32), HEAD, 0),
        (VIT, (16, 40), BATCH_NORM, 3),
        (RESNET, (224, 224), None, 0),
        (XCIT, (224, 224), BATCH_NORM, 0),
    ],
)
def test_round_trip(
    model: ModelConfig, size: tuple, head: HeadConfig | None, classes: int, tmp_path: pathlib.Path
) -> None:
    model = dataclasses.replace(model, drop_path=0.3, blocks="scanned")
    expected = network(model, size, head=head, classes=classes, inputs=64)
    facts = {"source": "a run", "config": to_dict(Config()), "steps": 7, "scores": {"knn": 1.5}}
    safetensors.save(weights(expected, **facts)._replace(epoch=3), tmp_path)
    assert names_in(tmp_path) == [safetensors.MAIN]
    for path in (tmp_path, tmp_path / safetensors.MAIN):
        found = safetensors.load(path)
        assert differences(found.network(), expected) == []
        assert found.epoch == 3
        assert found.facts == json.loads(json.dumps(facts))


def test_equal_weights_give_equal_bytes(tmp_path: pathlib.Path) -> None:
    one = weights(network(VIT, (32, 32), head=HEAD), source="x", steps=7, data="y")
    written = []
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
        safetensors.save(one, tmp_path / name)
        written.append((tmp_path / name / safetensors.MAIN).read_bytes())
    assert len(set(written)) == 1


def test_another_size_is_baked(tmp_path: pathlib.Path) -> None:
    safetensors.save(weights(network(VIT, (32, 32))), tmp_path, size=(24, 40))
    found = safetensors.load(tmp_path).network()
    assert found.size == (24, 40)
    assert found.params["backbone.pos_embed"].shape == (1, 16, 32)


def test_the_student_is_chosen(tmp_path: pathlib.Path) -> None:
    student, teacher = network(VIT, (32, 32), head=HEAD), network(VIT, (32, 32))
    both = weights(teacher)._replace(networks={"student": student, "teacher": teacher})
    safetensors.save(both, tmp_path, network="student")
    assert differences(safetensors.load(tmp_path).network(), student) == []


def test_our_names_without_our_metadata(tmp_path: pathlib.Path) -> None:
    model = dataclasses.replace(VIT, width=192, heads=3)
    expected = network(model, (32, 32), head=HEAD)
    path = tmp_path / "other.safetensors"
    write_safetensors(path, expected.params, {"format": "pt"})
    assert differences(safetensors.load(path).network(), expected) == []


@pytest.mark.parametrize(
    "change",
    [
        lambda p: p.pop("backbone.norm.bias"),
        lambda p: p.update({"backbone.extra": np.zeros(3, np.float32)}),
        lambda p: p.update({"backbone.norm.bias": np.zeros(3, np.float32)}),
    ],
    ids=["missing", "unexpected", "shape"],
)
def test_nothing_is_written_of_what_does_not_match(
    change: Callable, tmp_path: pathlib.Path
) -> None:
    one = network(VIT, (32, 32))
    params = dict(one.params)
    change(params)
    with pytest.raises(
        UserError, match=r"^the teacher holds other tensors .*backbone\.(norm|extra)"
    ):
        safetensors.save(weights(one._replace(params=params)), tmp_path)
    assert names_in(tmp_path) == []


def test_arrays_of_every_layout_and_type(tmp_path: pathlib.Path) -> None:
    grid = np.arange(12, dtype=np.float32).reshape(3, 4)
    tensors = {
        "turned": grid.T,
        "columns": grid[:, ::2],
        "scalar": np.asarray(7, np.int64),
        "empty": np.zeros((0, 3), np.float32),
        "half": grid.astype(np.float16),
        "brain": grid.astype(ml_dtypes.bfloat16),
    }
    write_safetensors(tmp_path / "x", tensors, {"a": "b"})
    found, metadata = read_safetensors(tmp_path / "x")
    assert metadata == {"a": "b"}
    for name, tensor in tensors.items():
        assert (found[name].dtype, found[name].shape) == (tensor.dtype, tensor.shape)
        np.testing.assert_array_equal(found[name], tensor)


def header(text: str, data: bytes = b"") -> bytes:
    return len(text.encode()).to_bytes(8, "little") + text.encode() + data


TENSOR = '"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}'


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "cannot be read"),
        (b"\x01\x02", "cannot be read"),
        ((1 << 40).to_bytes(8, "little") + b"{}", "header is longer than the file"),
        ((1 << 63).to_bytes(8, "little") + b"{}", "header is longer than the file"),
        (header("{nonsense"), "cannot be read"),
        (header("[]"), "cannot be read"),
        (header("{" + TENSOR + "}"), "cannot be read"),
        (header("{" + TENSOR + "}", b"12345678"), "cannot be read"),
        (header("{" + TENSOR + "," + TENSOR + "}", b"1234"), "a name occurs twice"),
        (header("[" * 100_000), "cannot be read"),
        (
            header('{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}', b"1234"),
            "cannot",
        ),
        (
            header('{"a": {"dtype": "F8_E5M2", "shape": [4], "data_offsets": [0, 4]}}', b"1234"),
            "cannot",
        ),
    ],
)
def test_damage_is_one_line(content: bytes, words: str, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(UserError, match=words) as raised:
        safetensors.load(path)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "told",
    [
        "nonsense", "[]", '{"format_version": 2}', '{"model": {}}', '{"model": 7}',
        '{"model": {"arch": "vit_tiny"}, "head": 7, "size": [32, 32]}',
        '{"model": {"arch": "vit_tiny"}, "head": null, "size": 7}',
        '{"model": {"arch": "vit_tiny", "colour": 1}, "head": null, "size": [32, 32]}',
        '{"model": {"arch": "vit_tiny", "width": "wide"}, "head": null, "size": [32, 32]}',
        '{"model": {"arch": "vit_huge"}, "head": null, "size": [32, 32]}',
        '{"model": {"arch": "vit_tiny", "heads": -1}, "head": null, "size": [32, 32]}',
        '{"model": {"arch": "vit_tiny"}, "head": null, "size": [-32, 32]}',
        '{"model": {"arch": "vit_tiny"}, "head": null, "size": [32, Infinity]}',
        '{"model": {"arch": "vit_tiny"}, "head": null, "size": [32, 1e400]}',
        '{"model": {"arch": "vit_tiny", "drop_path": 1%s}, "head": null}' % ("0" * 400),
        "[" * 200_000, '{"model": ' * 900 + "{}" + "}" * 900, "{}",
        '{"model": {"arch": "vit_tiny"}, "head": null, "size": [1000000000, 1000000000]}',
    ],
)  # fmt: skip
def test_metadata_of_ours_that_are_wrong(told: str, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "x.safetensors"
    write_safetensors(path, network(VIT, (32, 32)).params, {safetensors.OURS: told})
    with pytest.raises(UserError) as raised:
        safetensors.load(path)
    assert "\n" not in str(raised.value)


def test_no_such_file(tmp_path: pathlib.Path) -> None:
    for path in (tmp_path, tmp_path / "x.safetensors"):
        with pytest.raises(UserError, match="there is no file"):
            safetensors.load(path)


@pytest.mark.parametrize(
    "facts",
    [
        5, [1], "x", {"steps": "x"}, {"steps": -4}, {"steps": 1 << 40}, {"images": True},
        {"normalisation": 5}, {"normalisation": [1, 2]}, {"normalisation": [[1], [0]]},
        {"normalisation": [["a"], [1]]}, {"normalisation": [[0.5, 0.5], [0.5]]},
        {"scores": 5}, {"scores": {"a": "b"}}, {"scores": {"a": float("nan")}},
        {"config": 5}, {"config": {"x": 1}}, {"arguments": 5}, {"arguments": {"a": {"b": 1}}},
        {"data": 7}, {"later": 1},
    ],
    ids=str,
)  # fmt: skip
def test_facts_that_are_none_are_left_out(
    facts: object, tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    one = network(VIT, (32, 32))
    told = {**safetensors.described(one), "facts": facts, "epoch": "x"}
    path = tmp_path / "x.safetensors"
    write_safetensors(path, one.params, {safetensors.OURS: json.dumps(told)})
    found = safetensors.load(path)
    assert differences(found.network(), one) == []
    assert found.facts == {"source": str(path)}
    assert found.epoch is None
    assert "facts that are not as we write them are left out: " in caplog.text


def test_a_header_of_gigabytes_is_not_read(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes((3 << 30).to_bytes(8, "little") + b"{")
    with path.open("r+b") as file:
        file.truncate(4 << 30)
    for load in (safetensors.load, lambda path: open_weights(str(path))):
        with pytest.raises(UserError, match="header is longer"):
            load(path)


def test_metadata_are_in_one_order(tmp_path: pathlib.Path) -> None:
    """Whatever they hold: the library writes them in another at every time."""
    metadata = {"z": 'a "quoted" \\ line\n\x01\x7f', "é": "😀\u2028", "a": json.dumps({"b": "\t"})}
    tensors = {"x": np.arange(3, dtype=np.float32), "w": np.ones((2, 2), np.float32)}
    written = set()
    for index in range(8):
        write_safetensors(tmp_path / str(index), tensors, metadata)
        written.add((tmp_path / str(index)).read_bytes())
    assert len(written) == 1
    found, back = read_safetensors(tmp_path / "0")
    assert back == metadata
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(found[name], tensor)
