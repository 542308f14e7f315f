"""How many images a run has to train on, without opening them where that is known."""

from dino_jax.config import Config, UserError

KNOWN = {
    ("imagenet2012", "train"): 1_281_167,
    ("imagenet2012", "validation"): 50_000,
    ("cifar10", "train"): 50_000,
    ("cifar10", "test"): 10_000,
    ("imagenette", "train"): 9_469,
    ("imagenette", "validation"): 3_925,
}
"""Data sets of TensorFlow Datasets by name and split, as their pages count them."""


def examples_of(config: Config, given: int | None) -> tuple[int, str]:
    """The number of images of `data.train`, and where it is from.

    That is `given`, or the table's, or what is found by opening the images.

    Raises:
        UserError: none of them.
    """
    if given is not None:
        if given < 1:
            raise UserError(f"--examples={given}: expected 1 or more")
        return given, "as given"
    kind, _, rest = config.data.train.partition(":")
    name, _, split = rest.partition(":")
    known = KNOWN.get((name.split("/")[0], split or "train")) if kind == "tfds" else None
    if known is not None:
        return known, f"{name}, as published"
    return _opened(config), f"found in {config.data.train}"


def _opened(config: Config) -> int:
    from dino_jax.data.holdout import train_and_held_out

    try:
        data, channels = config.data, config.model.channels
        return len(train_and_held_out(data.train, data.val, channels=channels)[0])
    except UserError as error:
        raise UserError(f"{error}; or say how many images there are, by --examples=N") from error
