"""Attention by platform, behind one function.

'xla' runs anywhere and keeps the [B, H, L, S] weights; 'cudnn' is the fused kernel of
NVIDIA GPUs (bfloat16 and float16, heads of up to 128 features in multiples of 8);
'splash' is the fused kernel of TPUs (Pallas), which `interpret` runs on a CPU; 'turns'
takes a few heads after the others, whose weights a CPU then finds in its cache. Where a
shape or type does not suit the others, 'xla' takes over: `chosen` says which runs.
"""

import functools
import math

import jax
import jax.numpy as jnp

from cdcd_jax.networks.partition import by_shard, is_split

IMPLEMENTATIONS = ("auto", "xla", "cudnn", "splash", "turns")
_BY_PLATFORM = {"tpu": "splash", "gpu": "cudnn", "cuda": "cudnn", "cpu": "turns"}
_LANES = 128  # a TPU's registers are this wide: blocks are multiples of it


def resolve(implementation: str, platform: str | None = None) -> str:
    """'auto' becomes the best implementation of the platform, by default this one."""
    if implementation != "auto":
        return implementation
    return _BY_PLATFORM.get(platform or jax.default_backend(), "xla")


def chosen(
    implementation: str, dtype: jnp.dtype, head_size: int, length: int, keys: int
) -> str:
    """What runs for heads of `head_size` features, `length` queries and `keys` keys.

    Short key sequences (fewer than a TPU block) gain nothing from 'splash', and small
    weights fit a cache together. 'turns' is for a single device.
    """
    name = resolve(implementation)
    if name == "turns" and (length * keys < _LANES**2 or is_split()):
        return "xla"
    half = dtype in (jnp.bfloat16, jnp.float16)
    if name == "cudnn" and not (half and head_size <= 128 and head_size % 8 == 0):
        return "xla"
    if name == "splash" and keys < _LANES:
        return "xla"
    return name


def attention(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    implementation: str = "auto",
    interpret: bool = False,
) -> jax.Array:
    """softmax(q k' / sqrt(C)) v, the softmax in float32.

    Args:
        q: [B, L, H, C].
        k, v: [B, S, H, C].
        implementation: one of `IMPLEMENTATIONS`.
        interpret: emulates 'splash' where there is no TPU, to test it.

    Returns:
        [B, L, H, C].
    """
    name = chosen(implementation, q.dtype, q.shape[-1], q.shape[1], k.shape[1])
    if name == "turns":
        return _in_turns(q, k, v)
    if name != "splash":
        return jax.nn.dot_product_attention(q, k, v, implementation=name)
    # a kernel is opaque to the partitioner
    run = functools.partial(_splash, interpret=interpret)
    names = ("batch", None, "heads")
    return by_shard(run, [names] * 3, names, q, k, v)


def _in_turns(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
    """Four heads at a time, for the threads; weights are made again going backward."""
    batch, length, heads, size = q.shape
    together = math.gcd(batch * heads, 4)

    @jax.checkpoint
    def some(_, parts):
        q, k, v = parts
        logits = jnp.einsum("hlc,hsc->hls", q, k, preferred_element_type=jnp.float32)
        return None, jnp.einsum(
            "hls,hsc->hlc", jax.nn.softmax(logits).astype(v.dtype), v
        )

    def apart(x: jax.Array) -> jax.Array:
        x = jnp.swapaxes(x, 1, 2)
        return x.reshape(batch * heads // together, together, -1, size)

    parts = tuple(map(apart, (q / math.sqrt(size), k, v)))
    out = jax.lax.scan(some, None, parts)[1]
    return jnp.swapaxes(out.reshape(batch, heads, length, size), 1, 2)


def _splash(q: jax.Array, k: jax.Array, v: jax.Array, *, interpret: bool) -> jax.Array:
    from jax.experimental.pallas.ops.tpu import splash_attention as splash

    length, keys, heads = q.shape[1], k.shape[1], q.shape[2]
    q = _padded(q * (1.0 / math.sqrt(q.shape[-1])))
    k, v = _padded(k), _padded(v)
    block_q, block_k = _block(q.shape[2]), _block(k.shape[2])
    mask = splash.FullMask((q.shape[2], k.shape[2]))
    kernel = splash.make_splash_mha_single_device(
        mask=splash.MultiHeadMask([mask] * heads),
        block_sizes=splash.BlockSizes(
            block_q=block_q,
            block_kv=block_k,
            block_q_dkv=block_q,
            block_kv_dkv=block_k,
            block_q_dq=block_q,
            block_kv_dq=block_k,
        ),
        interpret=interpret,
    )
    segments = None
    if k.shape[2] != keys:  # the queries see no key that was padded in
        segments = splash.SegmentIds(
            q=jnp.zeros(q.shape[2], jnp.int32),
            kv=(jnp.arange(k.shape[2]) >= keys).astype(jnp.int32),
        )
    out = jax.vmap(lambda q, k, v: kernel(q, k, v, segment_ids=segments))(q, k, v)
    return jnp.swapaxes(out, 1, 2)[:, :length].astype(v.dtype)


def _padded(x: jax.Array) -> jax.Array:
    """[B, L, H, C] -> [B, H, L', C] with L' the next multiple of a block."""
    x = jnp.swapaxes(x, 1, 2)
    return jnp.pad(x, ((0, 0), (0, 0), (0, -x.shape[2] % _LANES), (0, 0)))


def _block(length: int) -> int:
    """The largest block of up to 512 that divides the padded length."""
    return max(b for b in range(_LANES, 513, _LANES) if length % b == 0)
