"""Requests for protocols, over encoders and options of a test's own."""

import pathlib
from typing import Any

from dino_jax.evals.protocol import Request
from dino_jax.evals.store import FeatureStore
from dino_jax.interop.encoder import Encoder
from dino_jax.train.sharding import make_mesh


def request(
    encoder: Encoder,
    options: Any,
    data: pathlib.Path | str,
    val: pathlib.Path | str | None = None,
    *,
    out: pathlib.Path | None = None,
    cache: pathlib.Path | None = None,
    devices: int = 1,
    batch: int = 16,
) -> Request:
    return Request(
        encoder=encoder, data=str(data), val=None if val is None else str(val), out=out,
        store=FeatureStore(cache), mesh=make_mesh(devices), batch_size=batch, seed=0,
        options=options,
    )  # fmt: skip
