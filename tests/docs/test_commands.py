"""Every command in the pages is one that its program takes; the cheap ones are run."""

import argparse
import ast
import configparser
import importlib
import pathlib
import re

import pytest

from dino_jax import flags, plan
from dino_jax.config import validate
from dino_jax.interop.convert import FORMATS
from dino_jax.protocol_flags import parse_protocol
from dino_jax.train.planning.devices import parse as parse_devices
from tests.docs import world
from tests.docs.pages import ROOT, Block, blocks, commands, module_of

SHELL = blocks("sh")
EXTERNAL = {
    "git clone": "there is no address of the repository to clone",
    "cd": "goes where the clone would be",
    "python eval_knn.py": "a script of the original, run by hand on such files (docs/weights.md)",
    "python main_dino.py": "a script of the original, run by hand on such files (docs/weights.md)",
    ".venv/bin/pre-commit install": "sets up the reader's own clone",
}
"""What can be neither parsed nor run here, and why."""
SOURCES = ("embedded", "folder", "tar", "tfds", "arrayrecord")
EXECUTED = """
dino_jax.evaluate knn --weights=runs/mine --against=random:runs/mine --against=pixels \
  --data=folder:photos/train --val=folder:photos/val
dino_jax.evaluate correspond --weights=runs/first --data=one.jpg --val=other.jpg --out=pair
dino_jax.evaluate pca --weights=runs/first --data=one.jpg --out=colours
dino_jax.evaluate neighbours --weights=runs/first --data=folder:photos --out=sheet
dino_jax.attend --weights=dino_vits16 --image=cat.jpg --out=pictures --html
dino_jax.attend --weights=runs/mine --compare=random:runs/mine --image=photos --out=measures --stats
dino_jax.embed --weights=runs/mine --data=folder:photos --out=features.npz
dino_jax.embed --weights=runs/mine --data=folder:photos --out=features.parquet
dino_jax.convert --from=runs/quickstart --to=dino-pth --out=quickstart.pth
dino_jax.convert --from=runs/mine --to=timm --out=exports/timm
"""
"""What is run, on small weights and photographs; each has to be on a page, word by word."""


def called(block: Block) -> list[tuple[str, list[str]]]:
    """Commands of ours in a block: the module and its arguments."""
    return [found for words in commands(block) if (found := module_of(words)) is not None]


def kept(module: str, arguments: list[str]) -> str:
    return " ".join([module, *arguments])


def place(block: Block) -> str:
    return block.place


@pytest.mark.parametrize("block", SHELL, ids=place)
def test_commands_are_taken(block: Block, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    unknown = []
    for words in commands(block):
        line = " ".join(words)
        if any(line == known or line.startswith(f"{known} ") for known in EXTERNAL):
            continue
        found = module_of(words)
        if words[0] == "make":
            check_make(words[1:])
        elif found is not None:
            check_module(*found)
        elif words[0] == "python" and (ROOT / words[1]).exists():
            check_script(ROOT / words[1], words[2:])
        else:
            unknown.append(line)
    assert not unknown, f"{block.place}: nothing here knows how to check these lines"


def check_make(arguments: list[str]) -> None:
    makefile = (ROOT / "Makefile").read_text()
    for argument in arguments:
        variable, equals, _ = argument.partition("=")
        pattern = rf"^{variable} \?=" if equals else rf"^{argument}:"
        assert re.search(pattern, makefile, flags=re.MULTILINE), argument


def check_module(module: str, arguments: list[str]) -> None:
    if module.startswith("benchmarks."):
        check_script(ROOT / f"{module.replace('.', '/')}.py", arguments)
    elif module in CHECKS:
        CHECKS[module](arguments)
    else:
        assert module.startswith("dino_jax."), module
        check_command(module, arguments)


def check_main(arguments: list[str]) -> None:
    config = flags.parse(["main", *arguments]).config
    validate(config)
    for spec in (config.data.train, config.data.val):
        assert spec is None or spec.split(":")[0] in SOURCES, spec


def check_evaluate(arguments: list[str]) -> None:
    if arguments[1:] != ["--help"]:
        parse_protocol(["evaluate", *arguments])


def check_plan(arguments: list[str]) -> None:
    parsed = flags.parse(["plan", *arguments, "--workdir=."], plan._define)
    validate(parsed.config)
    assert parse_devices(parsed.flags.values.devices)


def check_command(module: str, arguments: list[str]) -> None:
    """A command whose flags are `_define`, some `REQUIRED`; `_looking` looks at their values."""
    command = importlib.import_module(module)
    if not hasattr(command, "REQUIRED"):  # it takes words too
        assert flags.parse_words([module, *arguments], command._define, command.USAGE)[0]
        return
    found = flags.parse_alone(
        [module, *arguments], command._define, command.USAGE, required=command.REQUIRED
    )
    if module.endswith(".convert"):
        assert found["to"].value in FORMATS
    if hasattr(command, "_looking"):
        command._looking(found)


def check_script(path: pathlib.Path, arguments: list[str]) -> None:
    """A script of argparse's: its flags are read out of its source, so that nothing is imported."""
    nodes = ast.walk(ast.parse(path.read_text()))
    words = {node.value for node in nodes if isinstance(node, ast.Constant)}
    known = {f"--{word.removeprefix('--')}" for word in words if isinstance(word, str)}
    for argument in arguments:
        if argument.startswith("-"):
            assert argument.partition("=")[0] in known, f"{path}: {argument}"


def check_pip(arguments: list[str]) -> None:
    extras = configparser.ConfigParser(interpolation=None)
    extras.read(ROOT / "setup.cfg")
    assert arguments[0] == "install"
    for named in re.findall(r"\[(.*?)\]", " ".join(arguments)):
        assert set(named.split(",")) <= set(extras["options.extras_require"]), named


def check_pytest(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(exit_on_error=False)
    parser.add_argument("paths", nargs="*")
    for flag in ("-m", "-n", "-k"):
        parser.add_argument(flag)
    found = parser.parse_args(arguments)
    assert all((ROOT / path).exists() for path in found.paths)
    markers = (ROOT / "setup.cfg").read_text()
    for word in re.findall(r"\w+", found.m or ""):
        assert word in ("not", "and", "or") or f"\n    {word}: " in markers, word


def check_venv(arguments: list[str]) -> None:
    assert arguments == [".venv"]


CHECKS = {
    "dino_jax.main": check_main,
    "dino_jax.evaluate": check_evaluate,
    "dino_jax.plan": check_plan,
    "pip": check_pip,
    "pytest": check_pytest,
    "venv": check_venv,
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("pages")
    world.make(folder)
    return folder


@pytest.mark.parametrize("command", EXECUTED.strip().splitlines())
def test_command_runs(
    command: str,
    home: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pages = {kept(*found) for block in SHELL for found in called(block)}
    command = " ".join(command.split())
    assert command in pages, "no page has this command any more: change the list"
    monkeypatch.chdir(home)
    monkeypatch.setenv("DINO_JAX_CACHE", str(home / "cache"))
    module, *arguments = command.split()
    code = importlib.import_module(module).main([module, *arguments])
    assert code == 0, capsys.readouterr().err
    for argument in arguments:
        if argument.startswith("--out="):
            assert (home / argument.removeprefix("--out=")).exists()


def test_allowed_externals_are_still_on_a_page() -> None:
    lines = [" ".join(words) for block in SHELL for words in commands(block)]
    for known in EXTERNAL:
        assert any(line.startswith(known) for line in lines), known
