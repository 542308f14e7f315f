"""The roofline over optimised programs, on texts whose cost is counted by hand."""

import jax
import jax.numpy as jnp
import pytest

from benchmarks.gpu_hlo import Card, kernels, size
from benchmarks.gpu_model import costs, part_of

LOOP = """HloModule step

%body (p: (s32[], f32[8,16])) -> (s32[], f32[8,16]) {
  %p = (s32[], f32[8,16]{1,0}) parameter(0)
  %i = s32[] get-tuple-element(%p), index=0
  %x = f32[8,16]{1,0} get-tuple-element(%p), index=1
  %twice = f32[8,16]{1,0} fusion(%x), kind=kLoop, calls=%add, metadata={op_name="jit(f)/add"}
  ROOT %out = (s32[], f32[8,16]{1,0}) tuple(%i, %twice)
}

%add (q: f32[8,16]) -> f32[8,16] {
  %q = f32[8,16]{1,0} parameter(0)
  ROOT %sum = f32[8,16]{1,0} add(%q, %q)
}

%head (r: f32[64,16]) -> f32[8,16] {
  %r = f32[64,16]{1,0} parameter(0)
  ROOT %cut = f32[8,16]{1,0} slice(%r), slice={[0:8], [0:16]}
}

%product (a: bf16[32,16], b: bf16[16,64]) -> f32[32,64] {
  %a = bf16[32,16]{1,0} parameter(0)
  %b = bf16[16,64]{1,0} parameter(1)
  ROOT %dot = f32[32,64]{1,0} dot(%a, %b), lhs_contracting_dims={1}, rhs_contracting_dims={0}
}

ENTRY %main (w: f32[64,16], a: bf16[32,16], b: bf16[16,64]) -> f32[8,16] {
  %w = f32[64,16]{1,0} parameter(0)
  %a = bf16[32,16]{1,0} parameter(1)
  %b = bf16[16,64]{1,0} parameter(2)
  %cut = f32[8,16]{1,0} fusion(%w), kind=kLoop, calls=%head
  %zero = s32[] constant(0)
  %start = (s32[], f32[8,16]{1,0}) tuple(%zero, %cut)
  %loop = (s32[], f32[8,16]{1,0}) while(%start), body=%body, backend_config={"known_trip_count":{"n":"5"}}
  %mul = f32[32,64]{1,0} fusion(%a, %b), kind=kCustom, calls=%product, metadata={op_name="x/VisionTransformer/blocks/3/mlp/fc1/dot_general"}
  ROOT %last = f32[8,16]{1,0} get-tuple-element(%loop), index=1
}
"""  # noqa: E501


def test_bytes_flops_and_rounds_are_those_counted_by_hand():
    found = {kernel.name: kernel for kernel in kernels(LOOP)}
    assert set(found) == {"cut", "twice", "mul"}
    assert found["cut"].bytes == 2 * 8 * 16 * 4  # what is sliced, not the whole
    assert (found["twice"].bytes, found["twice"].times) == (2 * 8 * 16 * 4, 5)
    assert found["mul"].bytes == 32 * 16 * 2 + 16 * 64 * 2 + 32 * 64 * 4
    assert found["mul"].flops == {"bf16": 2.0 * 32 * 64 * 16}


def test_time_is_the_longer_of_moving_and_multiplying():
    product = next(kernel for kernel in kernels(LOOP) if kernel.name == "mul")
    slow = Card(bandwidth=1.0, rates={"bf16": 1e30}, gap=0.0)
    weak = Card(bandwidth=1e30, rates={"bf16": 1.0}, gap=0.5)
    assert product.seconds(slow) == pytest.approx(product.bytes)
    assert product.seconds(weak) == pytest.approx(product.flops["bf16"] + 0.5)


@pytest.mark.parametrize(
    ("algorithm", "kind", "products"),
    [("highest,highest", "f32", 1), ("dot_tf32_tf32_f32_x3", "tf32", 3),
     ("dot_bf16_bf16_f32_x6", "bf16", 6)],
)  # fmt: skip
def test_float32_products_count_at_the_rate_of_their_algorithm(algorithm, kind, products):
    line = "rhs_contracting_dims={0}, algorithm=" + algorithm
    text = LOOP.replace("bf16[", "f32[").replace("rhs_contracting_dims={0}", line)
    product = next(kernel for kernel in kernels(text) if kernel.name == "mul")
    assert product.flops == {kind: 2.0 * 32 * 64 * 16 * products}


def test_fused_attention_and_cublas_are_counted():
    text = """HloModule m

ENTRY %main (q: bf16[2,10,3,8], k: bf16[2,12,3,8]) -> bf16[2,3,10,8] {
  %q = bf16[2,10,3,8]{3,2,1,0} parameter(0)
  %k = bf16[2,12,3,8]{3,2,1,0} parameter(1)
  %f = (bf16[2,3,10,8]{3,1,2,0}, u8[0]{0}) custom-call(%q, %k, %k), custom_call_target="__cudnn$fmhaSoftmax"
  %a = f32[4,8]{1,0} parameter(2)
  %g = (f32[4,4]{1,0}, s8[4]{0}) custom-call(%a, %a), custom_call_target="__cublas$lt$matmul", backend_config={"gemm_backend_config":{"dot_dimension_numbers":{"lhs_contracting_dimensions":["1"]},"precision_config":{"operand_precision":["HIGHEST","HIGHEST"]}}}
  ROOT %o = bf16[2,3,10,8]{3,1,2,0} get-tuple-element(%f), index=0
}
"""  # noqa: E501
    found = {kernel.name: kernel.flops for kernel in kernels(text)}
    assert found["f"] == {"bf16": 2.0 * 2 * 2 * 3 * 10 * 12 * 8}
    assert found["g"] == {"f32": 2.0 * 4 * 4 * 8}


def test_a_program_of_this_machine_is_read():
    step = jax.jit(lambda a, b: jnp.tanh(a @ b).sum())
    shape = jax.ShapeDtypeStruct((64, 64), jnp.float32)
    found = costs(kernels(step.lower(shape, shape).compile().as_text()))
    assert found["kernels"] >= 1
    assert found["gigabytes"] >= 0


def test_sizes_and_parts():
    assert size("(f32[2,3]{1,0}, bf16[4]{0}, s32[])") == 24 + 8 + 4
    block = "jit(train_step)/transpose(jvp(VisionTransformer))/blocks/3/"
    assert part_of(block + "attn/qkv/dot_general") == "attention"
    assert part_of(block + "norm1/mul") == "norms"
    assert part_of("jit(train_step)/vmap(vmap())/add") == "photometric"
    assert part_of("") == "unnamed"
