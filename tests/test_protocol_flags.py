"""The command line of the evaluations: what is read, and one line for each mistake."""

import dataclasses
import pathlib

import pytest

from dino_jax.config import UserError
from dino_jax.config.protocol_options import KnnOptions
from dino_jax.config.protocols import PROTOCOLS, options_of
from dino_jax.protocol_flags import parse_protocol

WITHIN = ["--weights=w", "--data=d", "--val=v", "--out=o"]


def parse(*arguments: str):
    return parse_protocol(["evaluate", *arguments])


def test_everything_that_is_shared() -> None:
    asked = parse(
        "knn", "--weights=a", "--against=b", "--against=c:student", "--data=folder:x", "--json",
        "--out=o", "--size=96", "--batch-size=8", "--precision=bfloat16", "--seed=3", "--offline",
    )  # fmt: skip
    assert asked.weights == ("a", "b", "c:student")
    assert (asked.data, asked.val, asked.out) == ("folder:x", None, pathlib.Path("o"))
    assert (asked.json, asked.offline, asked.size, asked.resize) == (True, True, 96, None)
    assert (asked.batch_size, asked.precision, asked.seed) == (8, "bfloat16", 3)
    assert asked.options == KnnOptions()


def test_a_protocol_may_have_a_shared_name_for_itself() -> None:
    asked = parse("finetune", *WITHIN, "--batch-size=512")
    assert asked.options.batch_size == 512
    assert asked.batch_size == 64


def test_options_are_read_as_their_types() -> None:
    assert parse("knn", *WITHIN, "--k=5,7", "--temperature=0.1").options == KnnOptions(
        k=(5, 7), temperature=0.1
    )
    assert parse("knn", *WITHIN, "--k=5").options.k == (5,)


def test_an_option_may_be_written_with_either_dash() -> None:
    assert parse("knn", *WITHIN, "--batch_size=3") == parse("knn", *WITHIN, "--batch-size=3")


def wanted(name: str) -> list[str]:
    """What a protocol cannot be asked without."""
    protocol = PROTOCOLS[name]
    flags = ["--weights=w", "--data=d"] + ["--val=v"] * protocol.needs_val
    return flags + ["--out=o"] * protocol.needs_out


@pytest.mark.parametrize("name", PROTOCOLS)
def test_defaults_are_those_of_the_options(name: str) -> None:
    assert parse(name, *wanted(name)).options == PROTOCOLS[name].options()


@pytest.mark.parametrize("name", PROTOCOLS)
def test_every_option_reads_its_own_default(name: str) -> None:
    protocol = PROTOCOLS[name]
    for leaf in options_of(protocol.options).values():
        if leaf.default is None or leaf.default == ():
            continue
        values = leaf.default if isinstance(leaf.default, tuple) else (leaf.default,)
        text = ",".join(str(value) for value in values)
        found = parse(name, *wanted(name), f"--{leaf.path}={text.lower()}")
        assert getattr(found.options, leaf.path) == leaf.default, leaf.path


@pytest.mark.parametrize("name", PROTOCOLS)
def test_help_tells_every_option(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        parse(name, "--help")
    said = capsys.readouterr().out
    assert stopped.value.code == 0
    for field in dataclasses.fields(PROTOCOLS[name].options):
        assert f"--{field.name.replace('_', '-')}=" in said
    assert max(map(len, said.splitlines())) <= 100


def test_help_lists_the_protocols(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse("--help")
    said = capsys.readouterr().out
    assert all(f"\n  {name} " in said for name in PROTOCOLS)


MISTAKES = {
    "unknown protocol": (["kn"], "there is no protocol kn: did you mean knn?"),
    "options first": (["--weights=x", "knn"], "the protocol comes first, before --weights=x"),
    "no weights": (["knn", "--data=d"], "--weights is missing"),
    "empty weights": (["knn", "--weights=", "--data=d"], "--weights is missing"),
    "no data": (["knn", "--weights=w"], "--data is missing"),
    "no val": (["linear", "--weights=w", "--data=d"], "--val is missing"),
    "no out": (["tsne", "--weights=w", "--data=d"], "--out is missing"),
    "a val for nothing": (["video", "--weights=w", "--data=d", "--val=v"], "video takes none"),
    "a misspelt flag": (["knn", *WITHIN, "--temperatur=1"], "did you mean --temperature?"),
    "no number": (["knn", *WITHIN, "--k=many"], "--k=many: expected numbers such as 10,20"),
    "a surplus word": (["knn", *WITHIN, "more"], "unexpected argument more"),
    "a size that is not read": (["retrieval", *WITHIN[:2], "--size=3"], "no flag --size"),
    "weights for nothing": (["video", *WITHIN[:2], "--score=p"], "leave --weights out"),
    "no batch": (["knn", *WITHIN, "--batch-size=0"], "batch_size"),
    "precision": (["knn", *WITHIN, "--precision=half"], "precision"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_line(name: str) -> None:
    arguments, said = MISTAKES[name]
    with pytest.raises(UserError) as error:
        parse(*arguments)
    assert said in str(error.value)
    assert "\n" not in str(error.value)
