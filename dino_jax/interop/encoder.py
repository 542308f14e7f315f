"""A network, or what stands in for one, ready to be evaluated."""

import dataclasses
import difflib
import hashlib
import os
from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from dino_jax.config import Config, ModelConfig, UserError, to_dict
from dino_jax.config.architectures import ARCHITECTURES
from dino_jax.data.evaluation import default_resize
from dino_jax.interop.infer import configs_of, filled, model_of
from dino_jax.interop.network import Network
from dino_jax.interop.official import OFFICIAL
from dino_jax.interop.spec import config_of, open_weights
from dino_jax.interop.strict import image_size, narrow
from dino_jax.models.build import Model, build
from dino_jax.models.trivial import PATCH, TRIVIAL
from dino_jax.models.vit import Features
from dino_jax.ops.photometric import normalise
from dino_jax.types import Params

NETWORK = "network"
RANDOM = "random"
DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}
_UNTRAINED = "vit_small_16"


@dataclasses.dataclass(frozen=True)
class Encoder:
    """One network as the protocols see it.

    `kind` is `network`, or the spec of a trivial description (`models/trivial.py`), which has no
    blocks and no attention. `features(params, normalised images (B, H, W, C), *, blocks=0,
    attention=False, attention_block=-1)` gives `Features`; `params` holds the batch statistics
    too. Images are read at `size` after a resize of the short side to `resize` (None: 256/224 of
    the size), unless a protocol says its own. `identity` tells these weights, computed in this
    precision, from all others. `model` and `network` are None of a trivial description.
    """

    spec: str
    name: str
    kind: str
    identity: str
    params: Params
    size: int
    resize: int | None
    mean: Sequence[float]
    std: Sequence[float]
    channels: int
    patch_size: int
    width: int
    depth: int
    heads: int
    arch: str
    precision: str
    features: Callable[..., Features]
    model: Model | None = None
    network: Network | None = None
    facts: Mapping[str, object] = dataclasses.field(default_factory=dict)

    @property
    def classifier(self) -> Mapping[str, np.ndarray]:
        """`weight` and `bias` of a released or a supervised linear head, where there is one."""
        return {} if self.network is None else self.network.classifier

    def prepared(self, images: Array) -> Float[Array, "... channels"]:
        """uint8 images as the network takes them."""
        return normalise(images, self.mean, self.std)


def open_encoder(
    spec: str,
    *,
    size: int | None = None,
    resize: int | None = None,
    offline: bool = False,
    precision: str = "float32",
) -> Encoder:
    """Open weights, or what stands in for them, by a spec.

    All that `interop.spec.open_weights` opens; `random` (an untrained vit_small_16), `random:NAME`
    (any ARCHITECTURE_PATCH) and `random:SPEC` (untrained, with the architecture and the reading of
    other weights); `pixels` and `colour`. `size` and `resize` replace what the weights say.

    Raises:
        UserError: nothing of that name, or it cannot be built.
    """
    if spec in TRIVIAL:
        return _trivial(spec, *_reading(size or 224, resize))
    dtype = DTYPES[precision]
    if spec == RANDOM or spec.startswith(f"{RANDOM}:"):
        network, config = _untrained(spec.partition(":")[2] or _UNTRAINED, offline=offline)
        facts: Mapping[str, object] = {}
    else:
        weights = open_weights(spec, offline=offline)
        network = weights.network()
        config, facts = config_of(weights, network), weights.facts
    model = model_of(network, dtype)
    own = config.eval.resize if size in (None, config.crops.global_size) else None
    size, resize = _reading(size or config.crops.global_size, own if resize is None else resize)
    return Encoder(
        spec=spec,
        name=spec,
        kind=NETWORK,
        identity=_identity(network, precision),
        params={
            name: jnp.asarray(value)
            for name, value in {**network.params, **narrow(network.stats)}.items()
            if name.startswith("backbone.")
        },
        size=size,
        resize=resize,
        mean=config.data.mean,
        std=config.data.std,
        channels=config.model.channels,
        patch_size=model.patch_size,
        width=model.width,
        depth=model.depth,
        heads=model.heads,
        arch=network.model.arch,
        precision=precision,
        features=model.features,
        model=model,
        network=network,
        facts=facts,
    )


def _reading(size: int, resize: int | None) -> tuple[int, int | None]:
    """Both as they are.

    Raises:
        UserError: the centre to be cut out is larger than the resized image.
    """
    if resize is not None and resize < size:
        raise UserError(
            f"--resize={resize} is less than the {size} pixels of the crop: give "
            f"{default_resize(size)}, say, or a smaller --size"
        )
    return size, resize


def _trivial(spec: str, size: int, resize: int | None) -> Encoder:
    title, features = TRIVIAL[spec]
    return Encoder(
        spec, title, spec, spec, {}, size, resize, (0.0,) * 3, (1.0,) * 3, 3, PATCH,
        width=0, depth=0, heads=0, arch=spec, precision="float32", features=features,
    )  # fmt: skip


def _untrained(name: str, *, offline: bool) -> tuple[Network, Config]:
    """Fresh weights of an architecture by name, or of the architecture of other weights."""
    arch, _, patch = name.rpartition("_")
    if arch in ARCHITECTURES and patch.isdigit():
        config = Config()
        config.model = filled(ModelConfig(arch, int(patch)))
        size = (config.crops.global_size,) * 2
    elif name in ARCHITECTURES:
        return _untrained(f"{name}_16", offline=offline)
    else:
        _check_architecture(name)
        weights = open_weights(name, offline=offline)
        like = weights.network()
        config, size = config_of(weights, like), like.size
        config.model, config.head = configs_of(like)
    model = build(config.model, config.head, image_size=image_size(size))
    params, stats = model.init(jax.random.key(0))
    held, kept = ({key: np.asarray(each[key]) for key in each} for each in (params, stats))
    return Network(config.model, size, held, kept, head=config.head), config


def _check_architecture(name: str) -> None:
    """Raise UserError for the misspelt name of an architecture, so that no weights are sought."""
    arch, _, patch = name.rpartition("_")
    near = difflib.get_close_matches(arch, ARCHITECTURES, n=1, cutoff=0.75)
    if near and patch.isdigit() and name not in OFFICIAL and not os.path.exists(name):
        raise UserError(
            f"there is no architecture {name}: did you mean {RANDOM}:{near[0]}_{patch}? "
            f"there are {', '.join(ARCHITECTURES)}, each with its patch size"
        )


def _identity(network: Network, precision: str) -> str:
    told = to_dict(Config(model=configs_of(network)[0]))["model"]
    digest = hashlib.sha256(f"{told}{network.size}{precision}".encode())
    for name, value in sorted({**network.params, **network.stats}.items()):
        if name.startswith("backbone."):
            digest.update(name.encode())
            digest.update(np.ascontiguousarray(value).tobytes())
    return digest.hexdigest()


def finite(found: Float[np.ndarray, "..."], encoder: Encoder) -> Float[np.ndarray, "..."]:
    """What a network gave of one batch, as it is.

    Raises:
        UserError: it is not all finite, of which no figure could be made that means anything.
    """
    if not np.isfinite(found.sum(dtype=np.float64)):
        raise UserError(
            f"the features of {encoder.name} are not all finite: these weights diverged: take an "
            "earlier checkpoint"
        )
    return found


def check_patches(encoder: Encoder, size: int, *, flag: str = "--size") -> None:
    """Refuse a size that is no multiple of the patch.

    Raises:
        UserError: it is none; the nearest that is one is named.
    """
    patch = encoder.patch_size
    if size % patch:
        near = max(patch, round(size / patch) * patch)
        raise UserError(f"{flag}={size}: expected a multiple of the patch, {patch}: {near}, say")
