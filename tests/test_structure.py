"""The limits of CONTRIBUTING.md that a linter does not know: lengths, arguments, names of files."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parents[1]
LIBRARY = sorted((ROOT / "dino_jax").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
COMMANDS = ("main", "evaluate", "embed", "attend", "compare", "convert", "plan")
Function = ast.FunctionDef | ast.AsyncFunctionDef


def name(path: pathlib.Path) -> str:
    return str(path.relative_to(ROOT))


def functions(path: pathlib.Path) -> list[Function]:
    return [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, Function)]


def length(function: Function) -> int:
    return (function.end_lineno or function.lineno) - function.lineno + 1


@pytest.mark.parametrize("path", LIBRARY, ids=name)
def test_library_file_keeps_the_limits(path: pathlib.Path) -> None:
    assert len(path.read_text().splitlines()) <= 300
    for function in functions(path):
        where = f"{name(path)}:{function.lineno} {function.name}"
        assert length(function) <= (50 if function.name == "train_step" else 60), where
        arguments = function.args.posonlyargs + function.args.args
        positional = [a for a in arguments if a.arg not in ("self", "cls")]
        assert len(positional) <= 6, where


@pytest.mark.parametrize("path", TESTS, ids=name)
def test_test_file_is_not_too_long(path: pathlib.Path) -> None:
    assert len(path.read_text().splitlines()) <= 400


def test_nine_functions_in_ten_are_short() -> None:
    lengths = [length(function) for path in LIBRARY for function in functions(path)]
    assert sum(n <= 40 for n in lengths) >= 0.9 * len(lengths)


def test_commands_are_thin() -> None:
    for command in COMMANDS:
        path = ROOT / "dino_jax" / f"{command}.py"
        if path.exists():
            assert len(path.read_text().splitlines()) <= 80, command


def test_files_are_named_by_a_noun() -> None:
    for path in LIBRARY + TESTS:
        assert path.stem not in ("utils", "helpers", "common", "misc"), name(path)


def test_annotations_are_evaluated() -> None:
    """The shape checks of tests/conftest.py see nothing behind postponed annotations."""
    for path in LIBRARY:
        imports = [
            n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.ImportFrom)
        ]
        assert all(node.module != "__future__" for node in imports), name(path)
