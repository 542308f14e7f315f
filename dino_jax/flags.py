"""The command line: a config file, overrides of its fields, a folder; every mistake one line.

    --config=configs/vit_s16.py --workdir=DIR --config.data.train=folder:/photos --config.epochs=20

ml-collections' `config_flags` applies the overrides to the tree that the file returns. What it does
not do is done here, before: names and types are checked against the tree, with the nearest name
suggested, `None` is accepted where a field is optional, and tuples are checked element by element.
"""

import difflib
import importlib.util
import pathlib
import re
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from absl import flags
from ml_collections import config_flags

from dino_jax.config.fields import check_types, find, from_text, leaves, set_value
from dino_jax.config.original import ORIGINAL_FLAGS
from dino_jax.config.tree import Config, UserError

OVERRIDE = re.compile(r"^--?(no)?config\.([^=]+)(?:=(.*))?$", re.DOTALL)


class RunFlags(NamedTuple):
    """What the command line says beside the config and the folder."""

    config_file: str
    overrides: dict[str, Any]
    """Dotted path -> value, of what was given explicitly."""
    force_schedule: bool
    values: flags.FlagValues
    """Everything, those of `define` among it."""
    arguments: tuple[str, ...]
    """The command line as it was typed, without the program."""


class Parsed(NamedTuple):
    """The outcome of `parse`."""

    config: Config
    workdir: pathlib.Path
    flags: RunFlags


def parse(argv: Sequence[str], define: Callable[[flags.FlagValues], Any] | None = None) -> Parsed:
    """Read a command line (`argv[0]` is the program) into a `Config` and a folder.

    `define` may add flags of a command's own. Marks absl's flags as parsed, which grain's worker
    processes insist on, so that `absl.app` is not needed. `--help` writes the usage and exits.

    Raises:
        UserError: any mistake in the command line or the config file.
    """
    values = flags.FlagValues()
    flags.DEFINE_string("workdir", None, "Folder of the run.", flag_values=values)
    flags.DEFINE_bool(
        "force_schedule",
        False,
        "Go on with the run in the workdir though fields of its schedule have changed.",
        flag_values=values,
    )
    flags.DEFINE_bool("help", False, "Show this.", short_name="h", flag_values=values)
    if define is not None:
        define(values)
    try:
        arguments, overrides = _split(values.read_flags_from_files(list(argv), force_gnu=False))
    except flags.Error as error:
        raise UserError(_one_line(error)) from error
    file = _config_file(arguments)
    config = _apply(values, arguments, _load(file), overrides)
    flags.FLAGS.mark_as_parsed()
    if not values.workdir:  # an empty one, as of a shell variable unset, would be where we stand
        raise UserError("--workdir is missing: name the folder of the run, as --workdir=runs/first")
    workdir = _workdir(values.workdir)
    told = RunFlags(file, overrides, values.force_schedule, values, tuple(argv[1:]))
    return Parsed(config, workdir, told)


def parse_alone(
    argv: Sequence[str],
    define: Callable[[flags.FlagValues], Any],
    usage: str,
    *,
    required: Sequence[str] = (),
) -> flags.FlagValues:
    """Read the command line of a command that takes no config; `--help` writes `usage` and exits.

    `define` adds its flags, of which those `required` have to be given and not be empty.

    Raises:
        UserError: any mistake in the command line.
    """
    words, values = parse_words(argv, define, usage)
    if words:
        raise UserError(f"unexpected argument {words[0]}: see --help")
    for name in required:
        if not values[name].value:
            raise UserError(f"--{name} is missing: see --help")
    return values


def parse_words(
    argv: Sequence[str], define: Callable[[flags.FlagValues], Any], usage: str
) -> tuple[list[str], flags.FlagValues]:
    """The same of a command that is also given words, before, between or after its flags.

    Raises:
        UserError: any mistake in the flags.
    """
    values = flags.FlagValues()
    values.set_gnu_getopt(True)
    define(values)
    flags.DEFINE_bool("help", False, "Show this.", short_name="h", flag_values=values)
    if any(argument in ("--help", "-h", "--helpfull", "-help") for argument in argv[1:]):
        sys.stdout.write(usage)
        raise SystemExit(0)
    known = [f"--{name}" for name in values if len(name) > 1 and name != "help"]
    try:
        words = values(list(argv))[1:]
    except flags.UnrecognizedFlagError as error:
        near = difflib.get_close_matches(f"--{error.flagname}", known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
        raise UserError(f"there is no flag --{error.flagname}: {hint}") from error
    except flags.Error as error:
        raise UserError(_one_line(error)) from error
    flags.FLAGS.mark_as_parsed()
    return words, values


def usage() -> str:
    """Say how a command is called."""
    return """\
usage: python -m dino_jax.main --config=configs/NAME.py --workdir=DIR [--config.FIELD=VALUE ...]

your own images: --config=configs/auto.py --workdir=DIR --config.data.train=folder:PATH

images (--config.data.train, --config.data.val)
  folder:PATH                     every picture in a folder and in those inside it
  tar:PATH                        every picture in a tar archive
  tfds:NAME[:SPLIT]               a data set of TensorFlow Datasets, prepared before
  arrayrecord:PATTERN             ArrayRecord files
  embedded:photos[:val][:WINDOW]  the photographs of the quickstart

--force_schedule goes on with the run in DIR though fields of its schedule have changed
all fields: docs/configuration.md
"""


def _workdir(text: str) -> pathlib.Path:
    try:
        return pathlib.Path(text).expanduser()
    except RuntimeError as error:
        user = pathlib.Path(text).parts[0][1:]
        raise UserError(
            f"--workdir={text}: there is no {f'user {user}' if user else 'home folder'} here; "
            f"name the folder without the ~, or as ./{text} if it is called so"
        ) from error


def _split(argv: Sequence[str]) -> tuple[list[str], dict[str, Any]]:
    """Part the overrides, checked and the last of each, from the other arguments."""
    others: list[str] = []
    overrides: dict[str, Any] = {}
    rest = list(argv)
    while rest:
        argument = rest.pop(0)
        match = OVERRIDE.match(argument)
        if match is None:
            others.append(argument)
            continue
        negated, path, text = match.groups()
        is_bool = find(path).kind is bool
        if negated and not is_bool:
            raise UserError(f"{argument}: only a field of true or false takes --no")
        if negated:
            text = "false"
        elif text is None and is_bool:
            text = "true"
        elif text is None and (not rest or rest[0].startswith("--")):
            raise UserError(f"--config.{path} has no value: expected --config.{path}=VALUE")
        overrides[path] = from_text(path, rest.pop(0) if text is None else text)
    return others, overrides


def _config_file(arguments: list[str]) -> str:
    """Take `--config`, the last of them, out of the arguments and see that its file is there."""
    file, others = "", []
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        name, equals, value = argument.partition("=")
        if argument in ("--help", "-h", "--helpfull", "-help"):
            sys.stdout.write(usage())
            raise SystemExit(0)
        if name not in ("--config", "-config"):
            others.append(argument)
        elif equals:
            file = value
        else:
            file = "" if not rest or rest[0].startswith("--") else rest.pop(0)
    arguments[:] = others
    if not file:
        raise UserError("--config is missing: name a config file, as --config=configs/vit_s16.py")
    path = pathlib.Path(file)
    if not path.exists():
        raise UserError(f"config file {file} does not exist{_neighbours(path)}")
    if not path.is_file() or path.suffix != ".py":
        raise UserError(f"config file {file} is not a Python file{_neighbours(path)}")
    return file


def _neighbours(path: pathlib.Path) -> str:
    folder = path if path.is_dir() else path.parent
    names = sorted(p.stem for p in folder.glob("*.py") if not p.stem.startswith("_"))
    return f": {folder} holds {', '.join(names)}" if 0 < len(names) <= 30 else ""


def _load(file: str) -> Config:
    """The config of a file, without overrides; whatever goes wrong in the file is one line.

    Not by `DEFINE_config_file`, which in ml_collections 1.1 loads by a method of importlib that
    is going away, and lets a second file see the names of the first.
    """
    spec = importlib.util.spec_from_file_location("dino_jax_config_file", file)
    if spec is None or spec.loader is None:
        raise UserError(f"config file {file} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        if not callable(getattr(module, "get_config", None)):
            raise UserError("it has no function get_config()")
        config = module.get_config()
        check_types(config)
    except UserError as error:
        raise UserError(f"config file {file}: {error}") from error
    except SyntaxError as error:
        raise UserError(f"config file {file}, line {error.lineno}: {error.msg}") from error
    except Exception as error:  # a config file is the user's code: it may raise anything
        at = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == file]
        where = f"config file {file}, line {at[-1]}" if at else f"config file {file}"
        raise UserError(f"{where}: {type(error).__name__}: {_one_line(error)}") from error
    return config


def _apply(
    values: flags.FlagValues, arguments: list[str], config: Config, overrides: dict[str, Any]
) -> Config:
    """The config with its overrides; also reads the other flags into `values`."""
    program, *others = arguments
    # a field that becomes None has no text that config_flags takes: it is set afterwards
    typed = [f"--config.{path}={value}" for path, value in overrides.items() if value is not None]
    command = [program, *typed, *others]
    try:
        config_flags.DEFINE_config_dataclass("config", config, flag_values=values, sys_argv=command)
        surplus = values(command)[1:]
    except flags.UnrecognizedFlagError as error:
        raise UserError(_meant(error) or _one_line(error)) from error
    except flags.Error as error:
        raise UserError(_one_line(error)) from error
    if surplus:
        raise UserError(f"unexpected argument {surplus[0]}: fields are set by --config.FIELD=VALUE")
    for path in (path for path, value in overrides.items() if value is None):
        set_value(values.config, path, None)
    if "data.train" in overrides and "data.val" not in overrides:
        set_value(values.config, "data.val", None)  # the recipe's held-out images are of other data
    check_types(values.config)
    return values.config


def _meant(error: flags.UnrecognizedFlagError) -> str | None:
    """The override that a flag stands for: a field without `config.`, or the original's flag."""
    argument = str(error.flagvalue)  # the whole of it
    name = error.flagname.replace("-", "_").removeprefix("config_")
    named = [path for path in leaves() if path == name or path.endswith(f".{name}")]
    path = ORIGINAL_FLAGS.get(name) or next(iter(named), None)
    if path is None:
        return None
    _, equals, value = argument.partition("=")
    return f"there is no flag {argument}: did you mean --config.{path}{equals}{value}?"


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
