"""Which attention runs: XLA's wherever cuDNN cannot, and what a user is told who asks for it."""

import importlib.util

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dino_jax.config import UserError
from dino_jax.models import attention_gpu
from dino_jax.models.attention import attend
from dino_jax.models.attention_gpu import attend_by, fused


def drawn(tokens, dtype, asking=None, size=8):
    keys = jax.random.split(jax.random.key(tokens), 3)
    query, key, value = (jax.random.normal(k, (2, 3, tokens, size), dtype) for k in keys)
    return query[:, :, :asking], key, value


@pytest.mark.parametrize("tokens", [5, 37, 50])
@pytest.mark.parametrize("how", ["auto", "xla"])
def test_on_a_cpu_it_is_the_same_attention(how, tokens):
    for dtype in (jnp.float32, jnp.bfloat16):
        given = drawn(tokens, dtype)
        np.testing.assert_array_equal(attend_by(how, *given), attend(*given))


def test_gradients_pass_where_the_choice_is_left_to_the_platform(monkeypatch):
    # Installed or not, a CPU runs XLA's; the other branch stands in for what is not traceable here.
    monkeypatch.setattr(attention_gpu, "installed", lambda: True)
    monkeypatch.setattr(attention_gpu, "fused", attend)
    given = drawn(37, jnp.bfloat16)

    def total(how):
        return jax.jit(jax.grad(lambda *qkv: attend_by(how, *qkv).sum(), argnums=(0, 1, 2)))

    for chosen, plain in zip(total("auto")(*given), total("xla")(*given), strict=True):
        np.testing.assert_array_equal(chosen, plain)


def test_the_fused_branch_is_taken_where_a_gpu_would_run_it(monkeypatch):
    asked = []
    monkeypatch.setattr(attention_gpu, "installed", lambda: True)
    monkeypatch.setattr(attention_gpu, "fused", lambda *qkv: asked.append(1) or attend(*qkv))

    def traced(how, given):
        jax.eval_shape(lambda *qkv: attend_by(how, *qkv), *given)

    traced("auto", drawn(37, jnp.bfloat16))
    assert asked
    asked.clear()
    traced("auto", drawn(5, jnp.bfloat16))  # too few tokens
    traced("auto", drawn(37, jnp.float32))  # cuDNN's is of half precision
    traced("auto", drawn(37, jnp.bfloat16, asking=1))  # the class token alone asks
    traced("xla", drawn(37, jnp.bfloat16))
    assert not asked


@pytest.mark.parametrize(("installed", "dtype", "said"), [
    (False, jnp.bfloat16, r"CUDA libraries are not installed"),
    (True, jnp.float32, r"set precision=bfloat16"),
])  # fmt: skip
def test_asking_for_cudnn_where_it_cannot_be_is_a_users_error(monkeypatch, installed, dtype, said):
    monkeypatch.setattr(attention_gpu, "installed", lambda: installed)
    with pytest.raises(UserError, match=said) as caught:
        attend_by("cudnn", *drawn(37, dtype))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("tokens", [37, 50])
def test_padding_an_odd_length_changes_nothing(monkeypatch, tokens):
    plain = jax.nn.dot_product_attention

    def on_cpu(query, key, value, **options):
        assert query.shape[1] % 2 == 0
        assert options.pop("implementation") == "cudnn"
        return plain(query, key, value, implementation="xla", **options)

    monkeypatch.setattr(jax.nn, "dot_product_attention", on_cpu)
    given = drawn(tokens, jnp.float32)
    np.testing.assert_allclose(fused(*given), attend(*given), rtol=2e-5, atol=2e-6)


@pytest.mark.gpu
@pytest.mark.skipif(importlib.util.find_spec("jax_cuda13_plugin") is None, reason="needs a GPU")
@pytest.mark.parametrize("tokens", [37, 145, 197, 785])
def test_cudnn_agrees_with_xla_forward_and_backward(tokens):
    given = drawn(tokens, jnp.bfloat16, size=64)

    def pulled(how):
        out, pull = jax.vjp(lambda *qkv: attend_by(how, *qkv), *given)
        return out, *pull(out)

    for ours, theirs in zip(jax.jit(pulled, static_argnums=0)("cudnn"), pulled("xla"), strict=True):
        ours, theirs = (np.asarray(each, np.float32) for each in (ours, theirs))
        assert np.linalg.norm(ours - theirs) < 1e-2 * np.linalg.norm(theirs)
