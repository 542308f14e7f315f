"""The self-distillation loss, and what tells a healthy run from a collapsed one.

Letters of the einsums: b example of the batch, v view (a global crop, what the teacher saw),
c crop (any crop, what the student saw; the views come first), k prototype.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Float32


class LossTerms(NamedTuple):
    """Plain means over the batch, so the mean over equal micro-batches is that of the batch.

    `loss` carries the gradient to the student, the others carry none. `entropy` is the mean over
    the teacher's distributions of their entropy, in nats; `marginal` is their mean.
    """

    loss: Float32[Array, ""]
    entropy: Float32[Array, ""]
    marginal: Float32[Array, " prototypes"]


def pair_weights(views: int, crops: int) -> Float32[Array, "views crops"]:
    """Return 1 where view v is compared with crop c, 0 where both are the same image (v = c)."""
    return 1.0 - jnp.eye(views, crops, dtype=jnp.float32)


def dino_loss(
    student_logits: Float32[Array, "batch crops prototypes"],
    targets: Float32[Array, "batch views prototypes"],
    *,
    temperature: float | Float[Array, ""],
) -> Float32[Array, ""]:
    """Return the cross-entropy of student and teacher, averaged over batch and pairs v != c.

    `targets` are probabilities over the prototypes and receive no gradient; crops 0 and 1 of the
    student are the two views themselves. `temperature` is the student's (> 0). In nats, within
    [0, inf). Paper section 3.1, equation 3; reference 1.5. The training step takes the same loss
    by `streaming.streamed_loss`, without the logits.
    """
    targets = jax.lax.stop_gradient(targets)
    # A target sums to 1, hence -<q, log softmax(z)> = lse(z) - <q, z>, which needs no second array
    # of the size of the logits. With the row's largest logit taken away (it leaves both sides
    # alike) the two terms have one sign: nothing cancels, however large the logits are.
    peak = jax.lax.stop_gradient(student_logits.max(axis=-1, keepdims=True))
    scaled = (student_logits - peak) / temperature
    lse = jnp.log(jnp.exp(scaled).sum(axis=-1))
    agreement = jnp.einsum("bvk,bck->bvc", targets, scaled, precision=jax.lax.Precision.HIGHEST)
    pairs = pair_weights(targets.shape[1], student_logits.shape[1])
    per_pair = (lse[:, None, :] - agreement).mean(axis=0)
    return (pairs * per_pair).sum() / pairs.sum()


def loss_terms(
    loss: Float32[Array, ""], targets: Float32[Array, "batch views prototypes"]
) -> LossTerms:
    """Return the loss with the two means that `summarise` turns into diagnostics.

    Average the result over equal micro-batches, then summarise.
    """
    targets = jax.lax.stop_gradient(targets)
    entropy = jax.scipy.special.entr(targets).sum(axis=-1).mean()
    return LossTerms(loss, entropy, targets.mean(axis=(0, 1)))


def summarise(terms: LossTerms) -> dict[str, Float32[Array, ""]]:
    """Return the four figures by which collapse is judged, in nats, from 0 to ln(prototypes).

    `teacher_entropy`: mean entropy of a target (0: one prototype only; ln K: uniform).
    `teacher_marginal_entropy`: entropy of the mean target (0: every image on one prototype).
    `assignment_information`: their difference, what a target says about its image.
    `kl`: mean KL(teacher || student) over the pairs of the loss. Every view is in equally many
    pairs, so it is the loss less the mean entropy. Paper section 5.3 and figure 7.
    """
    loss, entropy, marginal = jax.lax.stop_gradient(terms)
    marginal_entropy = jax.scipy.special.entr(marginal).sum()
    return {
        "teacher_entropy": entropy,
        "teacher_marginal_entropy": marginal_entropy,
        "assignment_information": marginal_entropy - entropy,
        "kl": loss - entropy,
    }


def diagnostics(
    student_logits: Float32[Array, "batch crops prototypes"],
    targets: Float32[Array, "batch views prototypes"],
    *,
    temperature: float | Float[Array, ""],
) -> dict[str, Float32[Array, ""]]:
    """Return the figures of `summarise` for one whole batch; arguments as for `dino_loss`."""
    loss = dino_loss(student_logits, targets, temperature=temperature)
    return summarise(loss_terms(loss, targets))
