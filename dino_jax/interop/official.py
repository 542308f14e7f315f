"""Published weights by name: where they are, and what is known of them.

Addresses, scores and checksums: docs/development/formats.md, section 5.
"""

import difflib
from collections.abc import Mapping
from typing import Any, NamedTuple

from dino_jax.config import ModelConfig, UserError
from dino_jax.interop.cached import Remote
from dino_jax.interop.download import fetch
from dino_jax.interop.formats import dino, torchvision
from dino_jax.interop.network import Weights

DINO = "https://dl.fbaipublicfiles.com/dino"
DEIT = "https://dl.fbaipublicfiles.com/deit"

FULL, LINEAR = "full", "linear"
"""What may follow a name, after a colon: student, teacher, head and centre; a linear classifier."""

SELF_SUPERVISED = "ImageNet-1k, without labels (DINO, Caron et al. 2021)"
SUPERVISED = "ImageNet-1k, with labels"

CLASS_TOKENS = "the class tokens of the last 4 blocks, each through the final norm, joined"
INTERLEAVED = (
    "class token and mean of the patch tokens of the last block, both through the final norm, "
    "interleaved: cls 0, mean 0, cls 1, mean 1, …"
)
PLAIN = "the class token, or the pooled features of a ResNet"


class Official(NamedTuple):
    """One published network."""

    arch: str
    patch_size: int
    backbone: Remote
    full: Remote | None
    linear: Remote | None
    scores: Mapping[str, float]
    """ImageNet top-1 in percent, as its publisher says."""
    data: str = SELF_SUPERVISED
    features: str = PLAIN
    """What its linear classifier is fed with; `interleaved` needs care (eval_linear.py)."""


def _dino(
    stem: str, arch: str, patch_size: int, scores: tuple[float, float], *, md5: str = ""
) -> Official:
    folder = f"{DINO}/dino_{stem}_pretrain"
    features = {"vit_small": CLASS_TOKENS, "vit_base": INTERLEAVED}.get(arch, PLAIN)
    return Official(
        arch,
        patch_size,
        Remote(f"{folder}/dino_{stem}_pretrain.pth", md5=md5),
        Remote(f"{folder}/dino_{stem}_pretrain_full_checkpoint.pth"),
        Remote(f"{folder}/dino_{stem}_linearweights.pth"),
        {"knn_top1": scores[0], "linear_top1": scores[1]},
        features=features,
    )


def _supervised(url: str, sha256: str, arch: str, patch_size: int, top1: float) -> Official:
    return Official(
        arch, patch_size, Remote(url, sha256), None, None, {"top1": top1}, data=SUPERVISED
    )


OFFICIAL: Mapping[str, Official] = {
    "dino_vits16": _dino("deitsmall16", "vit_small", 16, (74.5, 77.0), md5="cf0f22"),
    "dino_vits8": _dino("deitsmall8", "vit_small", 8, (78.3, 79.7), md5="230cd5"),
    "dino_vitb16": _dino("vitbase16", "vit_base", 16, (76.1, 78.2), md5="552daf"),
    "dino_vitb8": _dino("vitbase8", "vit_base", 8, (77.4, 80.1), md5="556550"),
    "dino_resnet50": _dino("resnet50", "resnet50", 32, (67.5, 75.3)),
    "dino_xcit_small_12_p16": _dino("xcit_small_12_p16", "xcit_small_12", 16, (76.0, 77.8)),
    "dino_xcit_small_12_p8": _dino("xcit_small_12_p8", "xcit_small_12", 8, (77.1, 79.2)),
    "dino_xcit_medium_24_p16": _dino("xcit_medium_24_p16", "xcit_medium_24", 16, (76.4, 78.8)),
    "dino_xcit_medium_24_p8": _dino("xcit_medium_24_p8", "xcit_medium_24", 8, (77.9, 80.3)),
    "deit_small_16": _supervised(
        f"{DEIT}/deit_small_patch16_224-cd65a155.pth", "cd65a155", "vit_small", 16, 79.9
    ),
    "deit_base_16": _supervised(
        f"{DEIT}/deit_base_patch16_224-b5f2ef4d.pth", "b5f2ef4d", "vit_base", 16, 81.8
    ),
    "supervised_resnet50": _supervised(
        "https://download.pytorch.org/models/resnet50-0676ba61.pth",
        "0676ba61",
        "resnet50",
        32,
        76.13,
    ),
}
"""By the name that a spec says; the self-supervised ones also with `:full` and `:linear`."""


def named(spec: str) -> tuple[Official, str] | None:
    """The published network of a name, and what of it; None where there is no such name.

    Raises:
        UserError: the network is published, and not this of it.
    """
    name, _, part = spec.partition(":")
    if name not in OFFICIAL:
        return None
    found = OFFICIAL[name]
    if part not in ("", FULL, LINEAR) or (part and getattr(found, part) is None):
        parts = [name] if found.full is None else [name, f"{name}:{FULL}", f"{name}:{LINEAR}"]
        raise UserError(f"there is no {spec}: expected {' or '.join(parts)}")
    return found, part


def nearest(spec: str) -> str | None:
    """The published name that is most like this one, if any is."""
    name, colon, part = spec.partition(":")
    near = difflib.get_close_matches(name.lower(), OFFICIAL, n=1, cutoff=0.5)
    if not near:
        return None
    return near[0] + (colon + part if colon and part in (FULL, LINEAR) else "")


def open_official(spec: str, *, offline: bool = False) -> Weights | None:
    """The weights of a published name, downloaded where they are not yet; None: no such name.

    With `:linear` the backbone has the linear classifier, and the fact `features` says what that
    is fed with.

    Raises:
        UserError: the file cannot be had, or is not what it has to be.
    """
    found = named(spec)
    if found is None:
        return None
    official, part = found
    remote = official.full if part == FULL and official.full else official.backbone
    path = fetch(remote, offline=offline)
    resnet = official.arch.startswith("resnet")
    if official.data == SUPERVISED and resnet:
        weights = torchvision.load(path)
    else:
        weights = dino.load(path, model=ModelConfig(official.arch, official.patch_size))
    facts: dict[str, Any] = {
        "source": spec,
        "address": remote.url,
        "data": official.data,
        "scores": dict(official.scores),
    }
    if part == LINEAR and official.linear is not None:
        head = dino.load_linear(fetch(official.linear, offline=offline))
        network = weights.network()._replace(classifier=head)
        weights = weights._replace(networks={"teacher": network})
        facts["features"] = official.features
    return weights._replace(facts={**weights.facts, **facts})
