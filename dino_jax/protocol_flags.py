"""The command line of `python -m dino_jax.evaluate PROTOCOL`; every mistake is one line."""

import dataclasses
import difflib
import pathlib
import sys
import textwrap
from collections.abc import Sequence
from typing import Any, NamedTuple

from absl import flags

from dino_jax.config import UserError
from dino_jax.config.fields import describe, read
from dino_jax.config.protocols import PROTOCOLS, Protocol, options_of
from dino_jax.flags import parse_alone

USAGE = """\
usage: python -m dino_jax.evaluate PROTOCOL --weights=SPEC --data=SPEC [OPTION ...]

{protocols}

python -m dino_jax.evaluate PROTOCOL --help lists the options of one; docs/evaluation.md tells more
"""

SHARED = """\
--weights=SPEC      a run, a file or folder of weights, a published name (dino_vits16); `:student`
                    after it chooses the network; random:SPEC is the same untrained; `pixels` and
                    `colour` are images without a network
--against=SPEC      more weights (again and again): a row each, and the difference with its interval
--out=DIR           where the table and what is written go
--json              one JSON object as the last line
--size=PIXELS       side of the images (as the weights were trained)
--resize=PIXELS     short side before the centre is cut out (256/224 of the size)
--batch-size=64     images to one pass
--precision=float32 or bfloat16
--cache=DIR         where features are kept ($DINO_JAX_CACHE/features); `none`: nowhere
--seed=0            --offline: download nothing
"""


class Asked(NamedTuple):
    """What the command line says."""

    protocol: str
    weights: tuple[str, ...]
    """The first is the one in question, the others are compared with it; may be empty."""
    data: str
    val: str | None
    out: pathlib.Path | None
    json: bool
    offline: bool
    size: int | None
    resize: int | None
    batch_size: int
    precision: str
    cache: str | None
    seed: int
    options: Any


def parse_protocol(argv: Sequence[str]) -> Asked:
    """Read a command line (`argv[0]` is the program); `--help` writes the usage and exits.

    Raises:
        UserError: any mistake in it.
    """
    name, *others = argv[1:] or ["--help"]
    if name in ("--help", "-h", "-help", "--helpfull"):
        sys.stdout.write(USAGE.format(protocols=_listed()))
        raise SystemExit(0)
    if name not in PROTOCOLS:
        raise UserError(_unknown(name))
    protocol = PROTOCOLS[name]

    def define(values: flags.FlagValues) -> None:
        _define(values, protocol)

    command = [argv[0]] + [_underscored(other) for other in others]
    found = parse_alone(command, define, _usage(name, protocol))
    options = _options(protocol, found)
    _check_needed(name, protocol, found, options)
    out, weights = found["out"].value, [found["weights"].value, *(found["against"].value or [])]
    plain: dict[str, Any] = {key: found[key].value for key in _PLAIN}
    for key, default, _ in _NUMBERS:
        shared = key in found and not hasattr(options, key)
        plain[key] = found[key].value if shared else default
    return Asked(
        protocol=name,
        weights=tuple(spec for spec in weights if spec),
        out=pathlib.Path(out).expanduser() if out else None,
        options=options,
        **plain,
    )


_PLAIN = ("data", "val", "json", "offline", "precision", "cache")
_NUMBERS = (("size", None, 1), ("resize", None, 1), ("batch_size", 64, 1), ("seed", 0, 0))
"""Flag, default, least value; a protocol may have one of these of its own instead."""
_CROPS = ("size", "resize")


def _define(values: flags.FlagValues, protocol: Protocol) -> None:
    own = options_of(protocol.options)
    for name in ("weights", "data", "val", "out", "cache"):
        flags.DEFINE_string(name, None, "See --help.", flag_values=values)
    flags.DEFINE_multi_string("against", [], "See --help.", flag_values=values)
    for name in ("json", "offline"):
        flags.DEFINE_bool(name, False, "See --help.", flag_values=values)
    for name, default, least in _NUMBERS:
        if name not in own and (protocol.crops or name not in _CROPS):
            flags.DEFINE_integer(name, default, "See --help.", least, flag_values=values)
    flags.DEFINE_enum(
        "precision", "float32", ("float32", "bfloat16"), "See --help.", flag_values=values
    )
    for name, leaf in own.items():
        define = flags.DEFINE_bool if leaf.kind is bool else flags.DEFINE_string
        define(name, None, "See --help.", flag_values=values)


def _options(protocol: Protocol, found: flags.FlagValues) -> Any:
    given: dict[str, Any] = {}
    for field in dataclasses.fields(protocol.options):
        value = found[field.name].value
        if value is None:
            continue
        flag = "--" + field.name.replace("_", "-")
        leaf = options_of(protocol.options)[field.name]
        given[field.name] = value if leaf.kind is bool else read(leaf, value, flag=flag)
        choices = field.metadata.get("choices")
        if choices and given[field.name] not in choices:
            raise UserError(f"{flag}={value}: expected one of {', '.join(choices)}")
    return protocol.options(**given)


def _check_needed(name: str, protocol: Protocol, found: flags.FlagValues, options: Any) -> None:
    needless = protocol.without_weights and getattr(options, protocol.without_weights)
    needed = [] if needless else ["weights"]
    if needless and (found["weights"].value or found["against"].value):
        raise UserError(f"{name} measures no network with these options: leave --weights out")
    needed += ["data"] + ["val"] * protocol.needs_val + ["out"] * protocol.needs_out
    for flag in needed:
        if not found[flag].value:
            raise UserError(f"--{flag} is missing: see python -m dino_jax.evaluate {name} --help")
    if found["val"].value and not protocol.val:
        raise UserError(f"--val={found['val'].value}: {name} takes none, its images are --data")


def _usage(name: str, protocol: Protocol) -> str:
    wanted = " --weights=SPEC --data=SPEC"
    wanted += " --val=SPEC" if protocol.needs_val else " [--val=SPEC]" if protocol.val else ""
    wanted += " --out=DIR" * protocol.needs_out
    lines = [
        _wrapped(f"usage: python -m dino_jax.evaluate {name}{wanted} [OPTION ...]", 7),
        f"\n{protocol.options.__doc__}\n",
        _wrapped(f"--data=SPEC         {protocol.data}", 20),
    ]
    if protocol.val:
        lines.append(_wrapped(f"--val=SPEC          {protocol.val}", 20))
    left_out = {field.name for field in dataclasses.fields(protocol.options)}
    left_out |= set() if protocol.crops else set(_CROPS)
    flags_of = {f"--{name.replace('_', '-')}" for name in left_out}
    lines += [each for each in SHARED.splitlines() if each.split("=")[0] not in flags_of] + [""]
    for field in dataclasses.fields(protocol.options):
        leaf = options_of(protocol.options)[field.name]
        choices = field.metadata["choices"]
        accepted = ", ".join(choices) if choices else describe(leaf)
        flag = f"--{field.name.replace('_', '-')}={_shown(field.default)}"
        lines.append(_wrapped(f"{flag:<19} {field.metadata['said']} ({accepted})", 20))
    return "\n".join(lines).rstrip() + "\n"


def _wrapped(text: str, indent: int) -> str:
    return textwrap.fill(text, 100, subsequent_indent=" " * indent)


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _listed() -> str:
    return "\n".join(f"  {name:<16}{protocol.said}" for name, protocol in PROTOCOLS.items())


def _unknown(name: str) -> str:
    known = ", ".join(PROTOCOLS)
    if name.startswith("-"):
        return f"the protocol comes first, before {name}: one of {known}"
    near = difflib.get_close_matches(name, PROTOCOLS, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    return f"there is no protocol {name}: {hint}known are {known}"


def _underscored(argument: str) -> str:
    """`--batch-size=8` as `--batch_size=8`."""
    if not argument.startswith("--"):
        return argument
    name, equals, value = argument.partition("=")
    return "--" + name[2:].replace("-", "_") + equals + value
