"""Weights of any spec written in any format, whole or not at all."""

import contextlib
import difflib
import importlib
import importlib.util
import logging
import os
import pathlib
import re
import sys
import threading
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from dino_jax.config import UserError
from dino_jax.interop.target import beside, check_apart, check_target, gone_for_good, put

QUIET, LONGEST = 0.5, 10.0
"""Seconds without a sign of the threads of a writer that failed, and the most to wait for them."""
PARTS = ("backbone", "full")


class Format(NamedTuple):
    """One format: the module that writes it, and what it can take."""

    module: str
    suffix: str = ""
    """Of its main file; a path with that suffix means the file, any other a folder."""
    families: tuple[str, ...] = ("vit", "resnet", "xcit")
    sized: bool = False
    """Whether an image size is written into it."""
    package: str = ""
    """What has to be installed besides."""
    opened: str = ""
    """How it is opened: `{path}` is the main file, `{folder}` its folder."""
    alone: str = ""
    """The same where the file was written by itself, if it is another way."""


FORMATS: Mapping[str, Format] = {
    "orbax": Format("orbax", opened="--config.init_from={folder}, or any other --from"),
    "dino-pth": Format(
        "dino", ".pth",
        opened="--pretrained_weights {path} of the original's scripts, or torch.load({path!r})",
    ),
    "timm": Format(
        "timm", ".safetensors", sized=True,
        opened="timm.create_model('local-dir:{folder}', pretrained=True)",
        alone="timm.models.load_checkpoint(model, {path!r})",
    ),
    "transformers": Format(
        "transformers", families=("vit",), sized=True,
        opened="transformers.ViTModel.from_pretrained({folder!r}, add_pooling_layer=False)",
    ),
    "torchvision": Format(
        "torchvision", ".pth", ("resnet",),
        opened="m = torchvision.models.resnet50(); m.fc = torch.nn.Identity(); "
        "m.load_state_dict(torch.load({path!r}))",
    ),
    "safetensors": Format(
        "safetensors", ".safetensors", sized=True,
        opened="safetensors.numpy.load_file({path!r}), or any other --from",
    ),
    "onnx": Format(
        "onnx", ".onnx", sized=True, package="onnx",
        opened="onnxruntime.InferenceSession({path!r})",
    ),
}  # fmt: skip


SUFFIXES = frozenset(form.suffix for form in FORMATS.values() if form.suffix)


class Written(NamedTuple):
    """What `convert` wrote: the folder or the main file, what that is, and how it is opened."""

    path: pathlib.Path
    what: str
    opened: str


def convert(
    spec: str,
    to: str,
    out: str | os.PathLike[str],
    *,
    network: str | None = None,
    part: str | None = None,
    size: tuple[int, int] | None = None,
    offline: bool = False,
    overwrite: bool = False,
) -> Written:
    """Write the weights that `spec` names in the format `to`, with a model card, at `out`.

    `out` is a folder, or, where it ends as the format's main file does, that file, and the others
    lie beside it as `NAME.README.md` and so on. `network` is the teacher unless it or the spec says
    otherwise. `part` is for `dino-pth`: "backbone", or "full" with student, teacher and head.
    `size` is the image's (height, width) in pixels, for formats that have one; None: its own.

    Raises:
        UserError: anything that cannot be had, does not go together, or cannot be written; then
            nothing is left behind.
    """
    form = _checked(to, part=part, size=size)
    target = pathlib.Path(os.path.expanduser(out))
    single = bool(form.suffix) and target.suffix == form.suffix
    if target.suffix in SUFFIXES and (not single or to == "transformers"):
        alone = "" if to in ("transformers", "orbax") else f", or a file ending in {form.suffix}"
        raise UserError(f"--out={target}: {to} opens a folder{alone}: name one")
    check_target(target, single=single, overwrite=overwrite)
    # Late, so that a mistake is answered before jax has been loaded.
    from dino_jax.config.architectures import architecture_of
    from dino_jax.interop.card import write_card

    weights, network = _opened_weights(
        spec, network, target, offline=offline, optimiser=to in ("orbax", "dino-pth")
    )
    model = weights.network(network).model
    family = architecture_of(model).family
    if family not in form.families:
        takers = [other for other, f in FORMATS.items() if family in f.families]
        raise UserError(f"{to} has no place for {model.arch}: convert to {', '.join(takers)}")
    if to == "dino-pth" and part is None:
        part = "full" if {"student", "teacher"} <= set(weights.networks) else "backbone"
    options: dict[str, Any] = {"part": part} if part else {}
    module = importlib.import_module(f"dino_jax.interop.formats.{form.module}")
    with beside(target) as folder:
        with _as_the_system_says(folder):
            module.save(weights, folder, network=network, size=size, **options)
        file = target.name if single else ""
        write_card(weights, network, folder, format=to, size=size, file=file, part=part)
        put(folder, target, main=module.MAIN if single else "", overwrite=overwrite)
    what = f"{model.arch} of {spec} ({network}{f', {part}' if part else ''}) as {to}"
    classes = len(weights.network(network).classifier.get("bias", ()))
    return Written(target, what, _opened(form, target, "" if single else module.MAIN, classes))


def _opened_weights(
    spec: str, network: str | None, target: pathlib.Path, *, offline: bool, optimiser: bool
) -> tuple[Any, str]:
    """The weights, and the network to write: the only one where the spec or the caller chose."""
    from dino_jax.interop.network import Weights
    from dino_jax.interop.spec import open_weights, split_network

    name, chosen = split_network(spec)
    if chosen and split_network(name)[1]:
        raise UserError(f"{spec} chooses a network twice: leave one away")
    if chosen and network and chosen != network:
        raise UserError(f"{spec} chooses the {chosen} and --network the {network}: leave one away")
    check_apart(name, target)
    alone = bool(chosen or network)
    weights = open_weights(spec, offline=offline, optimiser=optimiser and not alone)
    if not alone:
        return weights, "teacher"
    told = chosen or network or "teacher"
    # Opened by such a spec it is the one network, which is then called the teacher.
    one = weights.network("teacher" if chosen else told)
    return Weights({told: one}, epoch=weights.epoch, facts={**weights.facts, "network": told}), told


@contextlib.contextmanager
def _as_the_system_says(folder: pathlib.Path) -> Iterator[None]:
    """What the libraries that write make of a full disk, as the OSError that it was.

    safetensors and orbax raise errors of their own. The threads of orbax and tensorstore go on for
    a moment, make folders anew and say each for itself what was wrong: they are waited for.
    """
    log, hook = logging.getLogger("absl"), sys.unraisablehook
    level, before = log.level, set(threading.enumerate())
    log.setLevel(logging.CRITICAL)
    sys.unraisablehook = lambda told: None if _is_closed(told.exc_value) else hook(told)
    try:
        yield
    except (UserError, OSError):
        raise
    except BaseException as error:
        for thread in set(threading.enumerate()) - before:
            thread.join(LONGEST)
        gone_for_good(folder, quiet=QUIET, longest=LONGEST)
        code = re.search(r"os[ _]error(?:_code)?[ =:']*(\d+)", str(error))
        if code is None or not isinstance(error, Exception):
            raise
        raise OSError(int(code[1]), os.strerror(int(code[1]))) from error
    finally:
        log.setLevel(level)
        sys.unraisablehook = hook


def _is_closed(error: object) -> bool:
    return isinstance(error, RuntimeError) and "loop is closed" in str(error)


def _opened(form: Format, target: pathlib.Path, main: str, classes: int) -> str:
    """How what was written is opened; `main` is empty where the target is the file itself."""
    text = form.opened if main else form.alone or form.opened
    if classes:
        text = text.replace("m.fc = torch.nn.Identity(); ", "")
        text = text.replace("resnet50()", f"resnet50(num_classes={classes})")
        text = text.replace("ViTModel", "ViTForImageClassification")
        text = text.replace(", add_pooling_layer=False", "")
    return text.format(path=str(target / main), folder=str(target))


def _checked(to: str, *, part: str | None, size: tuple[int, int] | None) -> Format:
    if to not in FORMATS:
        near = difflib.get_close_matches(to, FORMATS, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise UserError(f"there is no format {to!r}: {hint}there are {', '.join(FORMATS)}")
    form = FORMATS[to]
    if part is not None and (to != "dino-pth" or part not in PARTS):
        raise UserError(f"--part={part} with {to}: only dino-pth has parts, backbone and full")
    if size is not None and not form.sized:
        able = ", ".join(name for name, other in FORMATS.items() if other.sized)
        raise UserError(
            f"--size with {to}: it takes images of any size as it is; leave it away ({able} are "
            "written for one size)"
        )
    if size is not None and min(size) < 1:
        raise UserError(f"--size={size[0]}x{size[1]}: expected two positive numbers of pixels")
    if form.package and importlib.util.find_spec(form.package) is None:
        raise UserError(f"{to} needs the package {form.package}: pip install {form.package}")
    return form
