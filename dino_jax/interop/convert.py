"""Weights of any spec written in any format, whole or not at all."""

import contextlib
import difflib
import importlib
import importlib.util
import json
import os
import pathlib
import shutil
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from dino_jax.config import UserError

MARK = "dino_jax"
"""The key of `config.json` by which an export of ours is known, and may be written over."""
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
    _check_target(to, target, single=single, overwrite=overwrite)
    # Late, so that a mistake is answered before jax has been loaded.
    from dino_jax.config.architectures import architecture_of
    from dino_jax.interop.card import write_card
    from dino_jax.interop.spec import open_weights, split_network

    name, chosen = split_network(spec)
    if chosen and network and chosen != network:
        raise UserError(f"{spec} chooses the {chosen} and --network the {network}: leave one away")
    network = chosen or network or "teacher"
    weights = open_weights(name, offline=offline, optimiser=to in ("orbax", "dino-pth"))
    model = weights.network(network).model
    family = architecture_of(model).family
    if family not in form.families:
        takers = [other for other, f in FORMATS.items() if family in f.families]
        raise UserError(f"{to} has no place for {model.arch}: convert to {', '.join(takers)}")
    if to == "dino-pth" and part is None:
        whole = {"student", "teacher"} <= set(weights.networks) and network == "teacher"
        part = "full" if whole else "backbone"
    options: dict[str, Any] = {"part": part} if part else {}
    module = importlib.import_module(f"dino_jax.interop.formats.{form.module}")
    with _beside(target) as folder:
        module.save(weights, folder, network=network, size=size, **options)
        write_card(weights, network, folder, format=to, size=size)
        if single:
            _put_files(folder, target, main=module.MAIN, overwrite=overwrite)
        else:
            _put_folder(folder, target)
    what = f"{model.arch} of {spec} ({network}{f', {part}' if part else ''}) as {to}"
    classes = len(weights.network(network).classifier.get("bias", ()))
    return Written(target, what, _opened(form, target, "" if single else module.MAIN, classes))


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


def _check_target(to: str, target: pathlib.Path, *, single: bool, overwrite: bool) -> None:
    """Refuse a target that is there, unless it may go and is an export of ours."""
    if to == "transformers" and target.suffix == ".safetensors":
        raise UserError(f"--out={target}: transformers opens a folder, not a file: name one")
    if target.name in ("", "..") or "\0" in str(target):
        raise UserError(f"--out={target}: name a new folder, or a file in one")
    above = next((folder for folder in target.parents if folder.exists()), target.parent)
    if not above.is_dir():
        raise UserError(f"--out={target}: {above} is a file")
    if not os.path.lexists(target):
        return
    if not overwrite:
        raise UserError(f"--out={target} exists: name another, or write over it by --overwrite")
    if single and target.is_dir():
        raise UserError(f"--out={target} is a folder: name a file, or a folder without that suffix")
    if not single and not _is_export(target):
        raise UserError(f"--out={target} is no export of dino_jax: it is not written over")


def _is_export(folder: pathlib.Path) -> bool:
    """An empty folder, or one with our mark in its `config.json`."""
    if folder.is_symlink() or not folder.is_dir():
        return False
    if not any(folder.iterdir()):
        return True
    try:
        return MARK in json.loads((folder / "config.json").read_bytes())
    except (OSError, ValueError, TypeError, RecursionError):
        return False


@contextlib.contextmanager
def _beside(target: pathlib.Path) -> Iterator[pathlib.Path]:
    """An empty folder next to the target that is gone after, as is what was made to hold it."""
    folder = target.with_name(f".{target.name}.{os.getpid()}.partial")
    made = [above for above in target.parents if not above.exists()]
    try:
        folder.mkdir(parents=True)
        yield folder
    except OSError as error:
        raise UserError(f"cannot write {target}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        for above in made:
            with contextlib.suppress(OSError):  # not empty: something was written there
                above.rmdir()


def _put_folder(folder: pathlib.Path, target: pathlib.Path) -> None:
    """Rename the folder to its place; what was there goes only when it is."""
    old = folder.with_suffix(".old")
    if target.exists():
        target.rename(old)
    try:
        folder.rename(target)
    except OSError:
        if old.exists():
            old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _put_files(folder: pathlib.Path, target: pathlib.Path, *, main: str, overwrite: bool) -> None:
    """Rename each file to its place, the main one last."""
    places = {file: target.with_name(f"{target.stem}.{file.name}") for file in folder.iterdir()}
    places.pop(folder / main)
    there = [place for place in places.values() if place.exists()]
    if there and not overwrite:
        raise UserError(f"{there[0]} exists: name another --out, or write over it by --overwrite")
    for file, place in places.items():
        file.replace(place)
    (folder / main).replace(target)
