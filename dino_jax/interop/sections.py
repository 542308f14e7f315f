"""What a card is written of, and its sections on images, scripts and licence."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from dino_jax.config import Config
from dino_jax.config.architectures import architecture_of
from dino_jax.interop.network import Network
from dino_jax.interop.opening import FILES, arch_of

FIXED = ("timm", "transformers", "onnx")
"""Formats that are opened by who interpolates positions in another way, or not at all."""


class Card(NamedTuple):
    """What a card is written of."""

    network: Network
    """At the size that is written."""
    name: str
    """The student or the teacher."""
    form: str
    facts: Mapping[str, Any]
    config: Config | None
    """Of the run."""
    epoch: int | None
    images: tuple[int, int]
    """The size to prepare images for."""
    native: tuple[int, int]
    file: str
    full: bool

    @property
    def is_vit(self) -> bool:
        """Whether it has a table of positions."""
        return architecture_of(self.network.model).family == "vit"

    @property
    def main(self) -> str:
        """The name of the main file."""
        return self.file or FILES.get(self.form, "")


def data_of(card: Card) -> Any:
    """What the weights were trained on, None where it is not known."""
    arguments = card.facts.get("arguments")
    if "data" in card.facts:
        return card.facts["data"]
    if card.config is not None:
        return card.config.data.train
    return arguments.get("data_path") if isinstance(arguments, Mapping) else None


def scripts(card: Card) -> str:
    """Whether the original's own scripts can build the network."""
    arch = arch_of(card.network)
    if not arch:
        return (
            "The original's own scripts have no `--arch` for this network: theirs are of other "
            "widths, blocks and heads, in colour, with positions for images of 224×224 where they "
            "have a table."
        )
    patch = f" --patch_size {card.network.model.patch_size}" if card.is_vit else ""
    key = f" --checkpoint_key {card.name}" if card.full else ""
    return (
        f"The original's scripts take it by `--arch {arch}{patch} --pretrained_weights "
        f"PATH/{card.main}{key}`."
    )


def preparation(card: Card, mean: list[float], std: list[float]) -> Iterator[str]:
    """How images are made what the network takes."""
    height, width = card.images
    colours = "RGB in [0, 1]" if len(mean) == 3 else "in [0, 1]"
    short = "256/224 of that"
    if height == width:
        asked = card.config.eval.resize if card.config else None
        known = asked is not None and card.config is not None
        own = known and card.config is not None and card.config.crops.global_size == height
        short = f"{asked if own else round(height * 256 / 224)} pixels"
    yield (
        f"Images are {colours}, normalised by mean {mean} and standard deviation {std}. To prepare "
        f"one as the evaluations do, resize its short side to {short} (bicubic) and cut "
        f"{height}×{width} out of the centre."
    )
    if card.form == "transformers":
        yield (
            "\n`preprocessor_config.json` makes `ViTImageProcessor` do otherwise: it resizes both "
            f"sides to {height}×{width} and cuts nothing, which squashes what is not square. Its "
            "features then differ from those that were scored."
        )


def size_lines(card: Card) -> Iterator[str]:
    """For which images the files are, and what happens at another size."""
    network, form = card.network, card.form
    size, own = (f"{pair[0]}×{pair[1]}" for pair in (card.images, network.size))
    if not card.is_vit:
        side = card.config.crops.global_size if card.config else 224
        known = card.config is not None or {"address", "arguments"} & set(card.facts)
        trained = (
            f"It was trained at {side}×{side}" if known else "At what it was trained is not known"
        )
        if form == "onnx":
            yield f"The graph takes images of {size} (height × width) alone, any number at once."
            other = f"; for that export with `--size={side}x{side}`"
            yield f"{trained}{other if size != f'{side}×{side}' else ''}."
        else:
            yield (
                f"Any, since there is no table of positions. {trained}; the lines above use {size}."
            )
            if form == "timm" and size != own and card.images == (side, side):
                yield (
                    f"timm's own preparation reads {own} in `config.json`; for {size} there export "
                    f"with `--size={side}x{side}`."
                )
        return
    yield f"The positions are those of images of {own} pixels (height × width)."
    if network.size != card.native:
        yield (
            f"They were interpolated from {card.native[0]}×{card.native[1]} as the original does "
            "it, so that outputs at this size equal its; an export without `--size` holds the "
            "table itself."
        )
    if form in FIXED:
        yield (
            "At any other size the library refuses images or interpolates in a way of its own, "
            "and outputs differ by up to 0.4 %: export for the size that is used."
        )
        if form == "transformers" and network.size[0] != network.size[1]:
            yield "`interpolate_pos_encoding=True` fails, since the table is not square."
    elif network.size[0] != network.size[1]:
        yield "Since they are not square, images have to be of that size."
    elif form != "dino-pth":
        yield "They are interpolated at use for images of any other."
    else:
        yield (
            "They are interpolated at use for images of any other by the original and by dino_jax; "
            "timm refuses those."
        )


def licence(card: Card) -> str:
    """Whose terms hold, as far as it is known what the weights were made from."""
    data = data_of(card)
    sources = [f"the images, {data}" if data else "the images"]
    if card.config is not None and card.config.init_from:
        sources.append(f"the weights that the run began from, `{card.config.init_from}`")
    if "address" in card.facts:
        sources.append(f"the weights as they were published at {card.facts['address']}")
    elif card.config is None:
        sources.append("the weights that they began as, if any")
    return (
        "The terms of these weights are those of what they were made from: "
        f"{'; and '.join(sources)}. dino_jax, which wrote these files, is under Apache-2.0 and "
        "adds none."
    )
