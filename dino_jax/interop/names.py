"""How other libraries name our tensors: one table a family and format, read in both directions.

A row pairs a name of ours, without its `backbone.`, with one of theirs, or with several that hold
its rows in equal parts one below the other. `{i}`, `{j}` stand for numbers, `{wb}` for a weight or
a bias and `{bn}` for anything of a batch norm; what one side says there, the other repeats.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from dino_jax.config import UserError
from dino_jax.config.architectures import Family
from dino_jax.interop.network import Arrays
from dino_jax.interop.strict import listed, mismatch
from dino_jax.models.naming import BACKBONE

PLACEHOLDERS = {
    "{i}": r"(?P<i>0|[1-9]\d*)",
    "{j}": r"(?P<j>0|[1-9]\d*)",
    "{wb}": r"(?P<wb>weight|bias)",
    "{bn}": r"(?P<bn>weight|bias|running_mean|running_var|num_batches_tracked)",
}


class Row(NamedTuple):
    """One kind of tensor: its name here, and its name or names there."""

    ours: str
    theirs: tuple[str, ...]


Table = Sequence[Row]


def _same(names: str) -> Table:
    return tuple(Row(name, (name,)) for name in names.split())


def _renamed(rows: str) -> Table:
    """A line holds a name of ours and then those of theirs."""
    return tuple(Row(ours, tuple(theirs)) for ours, *theirs in map(str.split, rows.split("\n")))


VIT = _same(
    "cls_token pos_embed patch_embed.proj.{wb} blocks.{i}.norm1.{wb} blocks.{i}.attn.qkv.{wb} "
    "blocks.{i}.attn.proj.{wb} blocks.{i}.norm2.{wb} blocks.{i}.mlp.fc1.{wb} "
    "blocks.{i}.mlp.fc2.{wb} norm.{wb}"
)
"""The original's names, which timm kept (formats.md 1.1)."""

RESNET = _same(
    "conv1.weight bn1.{bn} layer{i}.{j}.conv1.weight layer{i}.{j}.bn1.{bn} "
    "layer{i}.{j}.conv2.weight layer{i}.{j}.bn2.{bn} layer{i}.{j}.conv3.weight "
    "layer{i}.{j}.bn3.{bn} layer{i}.{j}.downsample.0.weight layer{i}.{j}.downsample.1.{bn}"
)
"""torchvision's names, which everyone kept (formats.md 3.1)."""

XCIT_TIMM = (
    *_same(
        "cls_token patch_embed.proj.{i}.0.weight patch_embed.proj.{i}.1.{bn} blocks.{i}.gamma{j} "
        "blocks.{i}.norm{j}.{wb} blocks.{i}.attn.temperature blocks.{i}.attn.qkv.{wb} "
        "blocks.{i}.attn.proj.{wb} blocks.{i}.mlp.fc{j}.{wb} blocks.{i}.local_mp.conv{j}.{wb} "
        "blocks.{i}.local_mp.bn.{bn} cls_attn_blocks.{i}.gamma{j} cls_attn_blocks.{i}.norm{j}.{wb} "
        "cls_attn_blocks.{i}.attn.proj.{wb} cls_attn_blocks.{i}.mlp.fc{j}.{wb} norm.{wb}"
    ),
    *_renamed(
        "cls_attn_blocks.{i}.attn.qkv.{wb} cls_attn_blocks.{i}.attn.q.{wb} "
        "cls_attn_blocks.{i}.attn.k.{wb} cls_attn_blocks.{i}.attn.v.{wb}\n"
        "pos_embeder.token_projection.{wb} pos_embed.token_projection.{wb}"
    ),
)
"""formats.md 1.6."""

VIT_TRANSFORMERS = _renamed(
    "cls_token embeddings.cls_token\n"
    "pos_embed embeddings.position_embeddings\n"
    "patch_embed.proj.{wb} embeddings.patch_embeddings.projection.{wb}\n"
    "blocks.{i}.norm1.{wb} encoder.layer.{i}.layernorm_before.{wb}\n"
    "blocks.{i}.attn.qkv.{wb} encoder.layer.{i}.attention.attention.query.{wb} "
    "encoder.layer.{i}.attention.attention.key.{wb} "
    "encoder.layer.{i}.attention.attention.value.{wb}\n"
    "blocks.{i}.attn.proj.{wb} encoder.layer.{i}.attention.output.dense.{wb}\n"
    "blocks.{i}.norm2.{wb} encoder.layer.{i}.layernorm_after.{wb}\n"
    "blocks.{i}.mlp.fc1.{wb} encoder.layer.{i}.intermediate.dense.{wb}\n"
    "blocks.{i}.mlp.fc2.{wb} encoder.layer.{i}.output.dense.{wb}\n"
    "norm.{wb} layernorm.{wb}"
)
"""Up to 5.0, and what every version reads (formats.md 2.1)."""

VIT_TRANSFORMERS_5 = _renamed(
    "cls_token embeddings.cls_token\n"
    "pos_embed embeddings.position_embeddings\n"
    "patch_embed.proj.{wb} embeddings.patch_embeddings.projection.{wb}\n"
    "blocks.{i}.norm1.{wb} layers.{i}.layernorm_before.{wb}\n"
    "blocks.{i}.attn.qkv.{wb} layers.{i}.attention.q_proj.{wb} "
    "layers.{i}.attention.k_proj.{wb} layers.{i}.attention.v_proj.{wb}\n"
    "blocks.{i}.attn.proj.{wb} layers.{i}.attention.o_proj.{wb}\n"
    "blocks.{i}.norm2.{wb} layers.{i}.layernorm_after.{wb}\n"
    "blocks.{i}.mlp.fc1.{wb} layers.{i}.mlp.fc1.{wb}\n"
    "blocks.{i}.mlp.fc2.{wb} layers.{i}.mlp.fc2.{wb}\n"
    "norm.{wb} layernorm.{wb}"
)
"""What 5.23 writes of a model that it built itself."""

TABLES: Mapping[tuple[str, Family], Table] = {
    ("timm", "vit"): VIT,
    ("timm", "resnet"): RESNET,
    ("timm", "xcit"): XCIT_TIMM,
    ("torchvision", "resnet"): RESNET,
    ("transformers", "vit"): VIT_TRANSFORMERS,
    ("transformers 5", "vit"): VIT_TRANSFORMERS_5,
}
"""By format and family."""


def outward(table: Table, tensors: Mapping[str, np.ndarray], *, source: str) -> Arrays:
    """Tensors of ours, named `backbone.…`, under their names; contiguous, as they have to be.

    Raises:
        UserError: tensors that the table does not know, or whose rows do not part evenly.
    """
    found: Arrays = {}
    unexpected, reshaped = [], []
    for name, tensor in tensors.items():
        names = theirs(table, name)
        if not names:
            unexpected.append(name)
        elif len(names) > 1 and (tensor.ndim < 1 or len(tensor) % len(names)):
            reshaped.append(f"{name} is {tensor.shape}, expected {len(names)} equal parts")
        else:
            parts = [tensor] if len(names) == 1 else np.split(tensor, len(names))
            found.update(
                (own, np.asarray(part, order="C")) for own, part in zip(names, parts, strict=True)
            )
    _refuse(source, unexpected=unexpected, reshaped=reshaped)
    return found


def inward(table: Table, tensors: Mapping[str, Any], *, source: str) -> Arrays:
    """Tensors under their names as ours, named `backbone.…`: the inverse of `outward`.

    Whether all are there that a network needs is for `network_from` to tell.

    Raises:
        UserError: tensors that the table does not know, or parts of one of ours that are not all
            there or not of one shape.
    """
    found: Arrays = {}
    unexpected, missing, reshaped = [], [], []
    for name in tensors:
        match = _ours(table, name)
        if match is None:
            unexpected.append(name)
            continue
        ours, names = match
        absent = [own for own in names if own not in tensors]
        missing += [own for own in absent if own not in missing]
        if absent or ours in found:
            continue
        parts = [np.asarray(tensors[own], order="C") for own in names]
        first = parts[0].shape
        others = [own for own, part in zip(names, parts, strict=True) if part.shape != first]
        reshaped += [f"{own} is {np.shape(tensors[own])}, expected {first}" for own in others]
        if len(parts) > 1 and not first:
            reshaped.append(f"{names[0]} is {first}, expected rows")
        elif not others:
            found[ours] = parts[0] if len(parts) == 1 else np.concatenate(parts)
    _refuse(source, unexpected=unexpected, missing=missing, reshaped=reshaped)
    return found


def theirs(table: Table, name: str) -> tuple[str, ...]:
    """The names there of a tensor of ours named `backbone.…`; none where the table has no row."""
    if not name.startswith(BACKBONE):
        return ()
    for row in table:
        match = re.fullmatch(_pattern(row.ours), name.removeprefix(BACKBONE))
        if match:
            return tuple(_said(other, match) for other in row.theirs)
    return ()


def called(table: Table, name: str) -> str:
    """The same for a message: what the file calls a tensor of ours, or our own name for it."""
    return listed(theirs(table, name)) or name


def _ours(table: Table, name: str) -> tuple[str, tuple[str, ...]] | None:
    """Our name of a tensor, and all their names that make it up."""
    for row in table:
        for other in row.theirs:
            match = re.fullmatch(_pattern(other), name)
            if match:
                return BACKBONE + _said(row.ours, match), tuple(_said(o, match) for o in row.theirs)
    return None


def _pattern(template: str) -> str:
    pattern = re.escape(template).replace(r"\{", "{").replace(r"\}", "}")
    for placeholder, expression in PLACEHOLDERS.items():
        pattern = pattern.replace(placeholder, expression)
    return pattern


def _said(template: str, match: re.Match[str]) -> str:
    return template.format(**match.groupdict())


def _refuse(
    source: str, *, unexpected: list[str], reshaped: list[str], missing: Sequence[str] = ()
) -> None:
    message = mismatch(source, missing=missing, unexpected=unexpected, reshaped=reshaped)
    if message:
        raise UserError(message)
