"""Collectives read from programs: from a text of every spelling, and from a step compiled here."""

import jax
import numpy as np
import pytest

from dino_jax.train.planning.compiled import compiled_program
from dino_jax.train.planning.hlo import Exchange, exchanges
from dino_jax.train.sharding import make_mesh, split_axes
from tests.train import tiny

TEXT = """\
HloModule jit_step, is_scheduled=true

%add (a: f32[], b: f32[]) -> f32[] {
  ROOT %sum = f32[] add(%a, %b)
}

%all-reduce-scatter.3 (input: f32[64,128]) -> f32[32,128] {
  %input = f32[64,128]{1,0:T(8,128)} parameter(0)
  %all = f32[64,128]{1,0:T(8,128)} all-reduce(%input), replica_groups={{0,1},{2,3}}, to_apply=%add
  ROOT %own = f32[32,128]{1,0:S(1)} dynamic-slice(%all, %i, %j), dynamic_slice_sizes={32,128}
}

%body (c: (s32[], f32[16])) -> (s32[], f32[16]) {
  %c = (s32[], f32[16]) parameter(0)
  %part = f32[16]{0:T(128)} get-tuple-element(%c), index=1
  %sum = f32[16]{0} all-reduce(%part), replica_groups=[2,4]<=[8], to_apply=%add
  ROOT %t = (s32[], f32[16]) tuple(%n, %sum)
}

%more (c: (s32[], f32[16])) -> pred[] {
  %limit = s32[]{:T(128)} constant(16)
  %c = (s32[], f32[16]) parameter(0)
  %i = s32[]{:T(128)} get-tuple-element(%c), index=0
  ROOT %lt = pred[]{:T(512)} compare(%i, %limit), direction=LT
}

ENTRY %main (p: bf16[8,64], q: f32[64,128]) -> f32[32,128] {
  %p = bf16[8,64]{1,0:T(8,128)(2,1)} parameter(0)
  %q = f32[64,128]{1,0} parameter(1)
  %g = (bf16[8,64], bf16[32,64]) all-gather-start(%p), replica_groups=mesh['x'=4,'y'=1,'z'=2], \
device_ids=([2,4]T(1,0)) {'x','y'}, dimensions={0}
  %d = bf16[32,64]{1,0} all-gather-done(%g)
  %w = (s32[], f32[16]) while(%z), condition=%cond, body=%body, \
backend_config={"known_trip_count":{"n":"12"}}
  %v = (s32[], f32[16]) while(%z), condition=%more, body=%body
  %both = (f32[64,128], bf16[8,64]) all-reduce(%q, %p), replica_groups={}, to_apply=%add
  ROOT %f = f32[32,128]{1,0} fusion(%q), kind=kCustom, calls=%all-reduce-scatter.3
}
"""


def test_every_spelling_is_read_and_loops_are_counted_as_they_turn() -> None:
    assert exchanges(TEXT) == {
        Exchange("all-gather", 4, 4 * 8 * 64 * 2): 1,
        Exchange("all-reduce", 4, 16 * 4): 12 + 16,
        Exchange("all-reduce", 0, 64 * 128 * 4 + 8 * 64 * 2): 1,
        Exchange("reduce-scatter", 2, 64 * 128 * 4): 1,
    }


@pytest.mark.parametrize("fsdp", [1, 4])
def test_a_step_exchanges_its_gradient_and_gathers_what_is_split(fsdp: int) -> None:
    sizes_of = {"head__prototypes": 256, "head__bottleneck": 64, "loss__chunk": 64}
    run = tiny.trainer(8, model__depth=1, model__width=64, fsdp=fsdp, **sizes_of)
    shapes = jax.eval_shape(run.start).student
    program, _ = compiled_program(run.resolved, make_mesh(8, fsdp))
    found: dict[str, float] = {}
    for each, times in exchanges(program.as_text()).items():
        found[each.kind] = found.get(each.kind, 0.0) + times * each.payload
    sizes = {name: 4.0 * float(np.prod(leaf.shape)) for name, leaf in shapes.items()}
    axes = split_axes(shapes, fsdp)
    split = sum(size for name, size in sizes.items() if axes[name] is not None)
    # The scale of the last layer has no gradient. The backbone's is summed once a resolution: CPU
    # does not add the two before. What is split is summed among some, then its part among others.
    trained = sum(sizes.values()) - sizes["head.last_layer.weight_g"]
    backbone = sum(size for name, size in sizes.items() if name.startswith("backbone."))
    parts = 2 * split / fsdp if fsdp > 1 else 0
    assert found.get("all-gather", 0.0) == 2 * split
    assert trained <= found["all-reduce"] <= (trained + backbone + parts) * 1.02
