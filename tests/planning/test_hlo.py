"""The reader of compiled programs, on programs whose figures are known by hand."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
import tiny

from cdcd_jax.planning import flops, hlo
from cdcd_jax.training.program import abstract_batch, build


def analyse(fn, *shapes, dtype=jnp.float32):
    arrays = [jax.ShapeDtypeStruct(s, dtype) for s in shapes]
    return hlo.analyse(jax.jit(fn).lower(*arrays).compile().as_text())


def test_matrix_product():
    program = analyse(jnp.dot, (32, 64), (64, 48))
    assert program.flops == 2 * 32 * 64 * 48
    assert program.bytes == 4 * (32 * 64 + 64 * 48 + 32 * 48)
    assert not program.collectives and not program.host_transfers


def test_batched_matrix_product():
    program = analyse(
        lambda a, b: jnp.einsum("bij,bjk->bik", a, b), (5, 8, 7), (5, 7, 6)
    )
    assert program.flops == 2 * 5 * 8 * 7 * 6


def test_a_loop_counts_as_often_as_it_turns():
    def chain(x, weights):
        return jax.lax.scan(lambda x, w: (jnp.tanh(x @ w), None), x, weights)[0]

    program = analyse(chain, (16, 64), (7, 64, 64))
    assert program.flops == 7 * 2 * 16 * 64 * 64
    assert program.unknown_loops == 0
    # a turn reads one matrix of the seven, writes it as an operand, and reads that
    weights = 4 * 7 * 64 * 64
    assert 3 * weights < program.bytes < 5 * weights


def test_loops_within_loops():
    def inner(x, w):
        return jax.lax.fori_loop(0, 3, lambda _, x: jnp.tanh(x @ w), x)

    def outer(x, weights):
        return jax.lax.scan(lambda x, w: (inner(x, w), None), x, weights)[0]

    assert analyse(outer, (8, 32), (5, 32, 32)).flops == 15 * 2 * 8 * 32 * 32


def test_a_loop_without_known_end_counts_once_and_says_so():
    def grow(x):
        return jax.lax.while_loop(lambda x: jnp.sum(x) < 1e3, lambda x: x @ x, x)

    program = analyse(grow, (16, 16))
    assert program.unknown_loops == 1
    assert program.flops == 2 * 16**3


def test_the_gradient_of_a_loss_has_the_products_that_were_traced():
    model = dict(depth=3, scan_layers=True, remat="full", head_chunk=20)
    config = tiny.settings(model=model)
    task, _ = build(config)
    args = (
        *jax.eval_shape(task.init, jax.random.key(0)),
        abstract_batch(config, task),
        jax.random.key(0),
        jnp.int32(0),
    )
    fn = jax.grad(lambda *args: task.loss(*args)[0])
    program = hlo.analyse(jax.jit(fn).lower(*args).compile().as_text())
    assert program.flops == flops.matmul_flops(fn, *args)
    assert program.unknown_loops == 0


def convolve(x, w, **kwargs):
    kwargs = {"padding": "VALID", **kwargs}
    return jax.lax.conv_general_dilated(
        x, w, (1, 1), dimension_numbers=("NHWC", "HWIO", "NHWC"), **kwargs
    )


def test_convolution():
    program = analyse(convolve, (4, 9, 9, 8), (3, 3, 8, 16))
    assert program.flops == 2 * 4 * 7 * 7 * 16 * 9 * 8


def test_products_with_padding_are_none():
    program = analyse(
        lambda x, w: convolve(x, w, padding="SAME"), (1, 4, 4, 8), (3, 3, 8, 16)
    )
    assert program.flops == 2 * 10 * 10 * 8 * 16  # of 12 x 12 pairs along each axis


def test_feature_groups():
    program = analyse(
        lambda x, w: convolve(x, w, feature_group_count=4), (2, 8, 8, 8), (3, 3, 2, 16)
    )
    assert program.flops == 2 * 2 * 6 * 6 * 16 * 9 * 2


def test_gather_reads_what_it_picks():
    def take(table, index):
        return jnp.take(table, index.astype(jnp.int32), axis=0)

    program = analyse(take, (10_000, 64), (8,))
    assert program.bytes < 20 * 8 * 64 * 4


def test_a_callback_is_a_transfer_to_the_host():
    def fn(x):
        return jax.pure_callback(lambda x: x, jax.ShapeDtypeStruct((4,), x.dtype), x)

    assert analyse(fn, (4,)).host_transfers


COLLECTIVES = """
import json, sys
import jax, jax.numpy as jnp
jax.config.update("jax_num_cpu_devices", 8)
from jax import lax
from cdcd_jax.planning import hlo

mesh = jax.make_mesh((2, 4), ("a", "b"), axis_types=(jax.sharding.AxisType.Auto,) * 2)
P = jax.P
ab = P(("a", "b"))

def loop(x):
    add = lambda x, _: (jnp.tanh(lax.psum(x, "b")), None)
    return lax.scan(add, x, None, length=5)[0]

cases = {
    "psum": (lambda x: lax.psum(x, ("a", "b")), ab),
    "gather": (lambda x: lax.all_gather(x, "b", tiled=True), ab),
    "scatter": (lambda x: lax.psum_scatter(x, "b", tiled=True), ab),
    "exchange": (lambda x: lax.all_to_all(x, "b", 0, 0, tiled=True), ab),
    "permute": (lambda x: lax.ppermute(x, "b", ((0, 1), (1, 2), (2, 3), (3, 0))), ab),
    "loop": (loop, ab),
}
out = {}
for name, (fn, spec) in cases.items():
    specs = dict(in_specs=spec, out_specs=spec, check_vma=False)
    fn = jax.jit(jax.shard_map(fn, mesh=mesh, **specs))
    x = jax.ShapeDtypeStruct((256, 16), jnp.float32)
    program = hlo.analyse(fn.lower(x).compile().as_text())
    out[name] = [
        [c.kind, c.count, c.group_size, c.operand_bytes, c.bytes, c.network_bytes]
        for c in program.collectives
    ]
print(json.dumps(out))
"""


@pytest.fixture(scope="module")
def collectives():
    """Each case's collectives on 2 x 4 devices, 2 KB a device."""
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", COLLECTIVES],
        env={**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    "name, kind, count, group, operand, result, sent",
    [
        ("psum", "all-reduce", 1, 8, 2048, 2048, 2 * 7 / 8 * 2048),
        ("gather", "all-gather", 1, 4, 2048, 8192, 3 / 4 * 8192),
        ("scatter", "reduce-scatter", 1, 4, 2048, 512, 3 / 4 * 2048),
        ("exchange", "all-to-all", 1, 4, 2048, 2048, 3 / 4 * 2048),
        ("permute", "collective-permute", 1, 2, 2048, 2048, 2048),
        ("loop", "all-reduce", 5, 4, 2048, 2048, 2 * 3 / 4 * 2048),
    ],
)
def test_collectives(collectives, name, kind, count, group, operand, result, sent):
    assert collectives[name] == [[kind, count, group, operand, result, sent]]


# What TPU programs have and those of the CPU do not: loops whose end only their counter
# tells, batches written as dilated windows, an all-gather that stands in three fusions,
# a reduce-scatter written as a fusion, and arrays in on-chip memory, S(1).
TPU = """HloModule jit_step, is_scheduled=true, num_partitions=16

%gather_start (p: bf16[1,16,32]) -> (bf16[1,16,32], bf16[1,16,128], u32[]) {
  %p = bf16[1,16,32]{2,1,0:T(8,128)(2,1)S(1)} parameter(0)
  %all-gather.1 = bf16[1,16,128]{2,1,0:T(8,128)(2,1)} all-gather(%p), channel_id=7, \
replica_groups=mesh['axis_0'=4,'axis_1'=4] {'axis_1'}, dimensions={2}
  ROOT %start = (bf16[1,16,32]{2,1,0:S(1)}, bf16[1,16,128]{2,1,0:S(1)}, u32[]{:S(2)}) \
custom-call(%all-gather.1), custom_call_target="AsyncCollectiveStart"
}

%batched (q: bf16[16,2,16,64], k: bf16[16,2,16,64]) -> f32[16,2,64,64] {
  %q = bf16[16,2,16,64]{3,2,1,0:T(8,128)(2,1)} parameter(0)
  %k = bf16[16,2,16,64]{3,2,1,0:T(8,128)(2,1)} parameter(1)
  ROOT %convolution.1 = f32[16,2,64,64]{3,2,1,0:T(8,128)S(1)} convolution(%q, %k), \
window={size=16x2 stride=15x1 lhs_dilate=16x2}, dim_labels=01fb_01io->01bf
}

%gather_done (a: bf16[1,16,32], b: bf16[1,16,128], c: u32[]) -> bf16[1,16,128] {
  %a = bf16[1,16,32]{2,1,0:T(8,128)(2,1)S(1)} parameter(0)
  %b = bf16[1,16,128]{2,1,0:T(8,128)(2,1)S(1)} parameter(1)
  %c = u32[]{:S(2)} parameter(2)
  %all-gather.2 = bf16[1,16,128]{2,1,0:T(8,128)(2,1)} all-gather(%a), channel_id=7, \
replica_groups=mesh['axis_0'=4,'axis_1'=4] {'axis_1'}, dimensions={2}
  ROOT %done = bf16[1,16,128]{2,1,0:S(1)} custom-call(%a, %b, %all-gather.2, %c), \
custom_call_target="AsyncCollectiveDone"
}

%all-reduce-scatter (input: bf16[1024,16]) -> bf16[256,16] {
  %input = bf16[1024,16]{0,1:T(8,128)(2,1)} parameter(0)
  %all-reduce.1 = bf16[1024,16]{0,1:T(8,128)(2,1)} all-reduce(%input), channel_id=9, \
replica_groups={{0,1,2,3},{4,5,6,7}}, to_apply=%add
  %partition-id = u32[] partition-id()
  %zero = u32[] constant(0)
  ROOT %keep = bf16[256,16]{0,1:T(8,128)(2,1)} dynamic-slice(%all-reduce.1, \
%partition-id, %zero), dynamic_slice_sizes={256,16}
}

%body (state: (s32[], bf16[1024,16])) -> (s32[], bf16[1024,16]) {
  %state = (s32[]{:T(128)}, bf16[1024,16]{0,1:T(8,128)(2,1)}) parameter(0)
  %i = s32[]{:T(128)} get-tuple-element(%state), index=0
  %x = bf16[1024,16]{0,1:T(8,128)(2,1)} get-tuple-element(%state), index=1
  %one = s32[]{:T(128)} constant(1)
  %next = s32[]{:T(128)} add(%i, %one)
  %reduced = bf16[1024,16]{0,1:T(8,128)(2,1)} all-reduce(%x), channel_id=3, \
replica_groups=[4,4]<=[16], to_apply=%add, \
metadata={op_name="jit(step)/while/body/psum"}
  ROOT %pair = (s32[]{:T(128)}, bf16[1024,16]{0,1:T(8,128)(2,1)}) tuple(%next, %reduced)
}

%condition (state.1: (s32[], bf16[1024,16])) -> pred[] {
  %state.1 = (s32[]{:T(128)}, bf16[1024,16]{0,1:T(8,128)(2,1)}) parameter(0)
  %limit = s32[]{:T(128)} constant(24)
  %i.1 = s32[]{:T(128)} get-tuple-element(%state.1), index=0
  ROOT %lt = pred[]{:T(512)} compare(%i.1, %limit), direction=LT
}

ENTRY %main (q.1: bf16[16,2,16,64], x.1: bf16[1024,16]) -> bf16[256,16] {
  %q.1 = bf16[16,2,16,64]{3,2,1,0:T(8,128)(2,1)} parameter(0)
  %x.1 = bf16[1024,16]{0,1:T(8,128)(2,1)} parameter(1)
  %product = f32[16,2,64,64]{3,2,1,0:T(8,128)S(1)} fusion(%q.1, %q.1), kind=kOutput, \
calls=%batched
  %cut = bf16[1,16,32]{2,1,0:T(8,128)(2,1)S(1)} slice(%q.1), slice={[0:1]}
  %async = (bf16[1,16,32]{2,1,0:S(1)}, bf16[1,16,128]{2,1,0:S(1)}, u32[]{:S(2)}) \
fusion(%cut), kind=kCustom, calls=%gather_start
  %g0 = bf16[1,16,32]{2,1,0:S(1)} get-tuple-element(%async), index=0
  %g1 = bf16[1,16,128]{2,1,0:S(1)} get-tuple-element(%async), index=1
  %g2 = u32[]{:S(2)} get-tuple-element(%async), index=2
  %gathered = bf16[1,16,128]{2,1,0:S(1)} fusion(%g0, %g1, %g2), kind=kCustom, \
calls=%gather_done
  %zero.1 = s32[]{:T(128)} constant(0)
  %copied = s32[]{:T(128)} copy(%zero.1)
  %first = (s32[]{:T(128)}, bf16[1024,16]{0,1:T(8,128)(2,1)}) tuple(%copied, %x.1)
  %loop = (s32[]{:T(128)}, bf16[1024,16]{0,1:T(8,128)(2,1)}) while(%first), \
condition=%condition, body=%body
  %last = bf16[1024,16]{0,1:T(8,128)(2,1)} get-tuple-element(%loop), index=1
  ROOT %scattered = bf16[256,16]{0,1:T(8,128)(2,1)} fusion(%last), kind=kCustom, \
calls=%all-reduce-scatter
}
"""


def test_a_tpu_program():
    program = hlo.analyse(TPU)
    assert program.unknown_loops == 0
    assert program.flops == 2 * 16 * 2 * 64 * 64 * 16
    found = [(c.kind, c.count, c.group_size, c.bytes) for c in program.collectives]
    size = 1024 * 16 * 2
    assert found == [
        ("all-gather", 1, 4, 16 * 128 * 2),
        ("all-reduce", 24, 4, size),
        ("reduce-scatter", 1, 4, size // 4),
    ]
    reduce, scatter = program.collectives[1:]
    assert reduce.op_name == "jit(step)/while/body/psum"
    assert str(reduce.results[0]) == "bf16[1024,16]"
    assert reduce.network_bytes == 2 * 3 / 4 * size
    assert scatter.network_bytes == 3 / 4 * size
    assert program.by_kind()["all-reduce"] == dict(
        count=24, bytes=24 * size, network_bytes=36 * size
    )
    # q twice and its slice, the loop's array in and out, the shard; copies of counters
    q, cut, shard = 16 * 2 * 16 * 64 * 2, 16 * 32 * 2, size // 4
    counters = 2 * 4 + 24 * 3 * 4
    assert program.bytes == 2 * q + cut + 24 * 2 * size + size + shard + counters


# The attributes of a kernel may break lines.
KERNELS = """HloModule jit_attention

ENTRY %main (q: bf16[4,8,256,64], k: bf16[4,8,128,64]) -> bf16[4,8,256,64] {
  %q = bf16[4,8,256,64]{3,2,1,0:T(8,128)(2,1)} parameter(0)
  %k = bf16[4,8,128,64]{3,2,1,0:T(8,128)(2,1)} parameter(1)
  %m = s8[1,1,1]{2,1,0:T(4,128)(4,1)} constant({...})
  %attended.q_ref = bf16[4,8,256,64]{3,2,1,0:T(8,128)(2,1)} custom-call(%m, %q, %k, \
%k), custom_call_target="tpu_custom_call", frontend_attributes={kernel_metadata={
"xprof_metadata":"{\\"block_q\\": 256}"
}}, metadata={op_name="jit(attention)/splash_mha_fwd_residuals/pallas_call"}
  ROOT %other = bf16[4,8,256,64]{3,2,1,0:T(8,128)(2,1)} custom-call(%attended.q_ref),\
 custom_call_target="tpu_custom_call", metadata={op_name="jit(attention)/mine"}
}
"""


def test_fused_kernels():
    program = hlo.analyse(KERNELS)
    assert program.flops == 2 * 2 * 4 * 8 * 256 * 128 * 64
    assert program.kernels == {"tpu_custom_call": 1}  # whose FLOPs nobody knows


GEMM = """HloModule jit_dot

ENTRY %main (a: bf16[32,64], b: bf16[64,48]) -> bf16[32,48] {
  %a = bf16[32,64]{1,0} parameter(0)
  %b = bf16[64,48]{1,0} parameter(1)
  %gemm = (bf16[32,48]{1,0}, s8[4096]{0}) custom-call(%a, %b), \
custom_call_target="__cublas$gemm", backend_config={"gemm_backend_config":\
{"dot_dimension_numbers":{"lhs_contracting_dimensions":["1"]}}}
  ROOT %c = bf16[32,48]{1,0} get-tuple-element(%gemm), index=0
}
"""


def test_a_library_product_of_gpus():
    assert hlo.analyse(GEMM).flops == 2 * 32 * 64 * 48


def test_text_that_is_no_program():
    with pytest.raises(ValueError, match="no entry computation"):
        hlo.analyse("HloModule nothing")
