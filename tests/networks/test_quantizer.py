"""Quantizers against loops, and against what taming-transformers and Jukebox computed.

The reference's codebook loss is `legacy`: its weight beta stands before the codebook's
term, ours before the commitment, as in the paper.
"""

import os
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cdcd_jax.convert.remap import from_table
from cdcd_jax.networks import quantizer as vq

ROOT = pathlib.Path(__file__).resolve().parents[2]
COMPLETE = pathlib.Path(
    os.environ.get("CDCD_JAX_GOLDEN", ROOT.parent / "shared" / "golden")
)


def channels_last(array: np.ndarray) -> np.ndarray:
    """[B, C, h, w] -> [B, h, w, C]."""
    return np.moveaxis(array, 1, -1)


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(ROOT / "tests" / "golden" / "parity_vqgan.npz") as arrays:
        return dict(arrays)


# -- nearest codes ---------------------------------------------------------------------


def test_codes_of_the_reference(golden: dict[str, np.ndarray]) -> None:
    z = channels_last(golden["out/quant_conv"])
    book = golden["params/quantize.embedding.weight"]
    codes = vq.nearest_codes(z, book)
    assert codes.shape == z.shape[:-1] and codes.dtype == jnp.int32
    np.testing.assert_array_equal(np.ravel(codes), golden["out/indices"])
    z_q = jnp.asarray(book)[codes]
    quant = channels_last(golden["out/quant"])
    np.testing.assert_allclose(vq.straight_through(z, z_q), quant, rtol=0, atol=1e-6)
    commitment, codebook = vq.commitment_loss(z, z_q), vq.codebook_loss(z, z_q)
    legacy, plain = golden["out/emb_loss"], golden["out/emb_loss_nonlegacy"]
    np.testing.assert_allclose(commitment + 0.25 * codebook, legacy, rtol=1e-6)
    np.testing.assert_allclose(0.25 * commitment + codebook, plain, rtol=1e-6)


def test_nearest_codes_by_a_loop() -> None:
    rng = np.random.default_rng(0)
    z, book = rng.normal(size=(3, 5, 4)), rng.normal(size=(7, 4))
    ours = vq.nearest_codes(jnp.asarray(z), jnp.asarray(book))
    for index in np.ndindex(3, 5):
        assert ours[index] == np.argmin(np.sum((z[index] - book) ** 2, -1))


def test_the_first_of_equal_codes() -> None:
    book = jnp.asarray([[1.0, 0.0], [0.5, 0.5], [1.0, 0.0], [0.5, 0.5]])
    assert vq.nearest_codes(book, book).tolist() == [0, 1, 0, 1]


def test_half_precision_vectors_are_compared_in_full() -> None:
    z = jnp.asarray([[1000.0, 0.0]], jnp.bfloat16)
    book = jnp.asarray([[1001.0, 0.0], [1000.25, 0.0]])
    assert vq.nearest_codes(z, book).tolist() == [1]


def test_unit_vectors() -> None:
    x = jnp.asarray([[3.0, 4.0], [0.0, 0.0], [1e-20, 0.0]], jnp.bfloat16)
    found = vq.unit(x)
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found[0], [0.6, 0.8], rtol=1e-6)
    np.testing.assert_array_equal(found[1], 0)
    assert np.isfinite(jax.grad(lambda x: jnp.sum(vq.unit(x)))(jnp.zeros(3))).all()


def test_gradients_of_the_parts() -> None:
    z, z_q = jnp.asarray([1.0, 2.0, 3.0]), jnp.asarray([0.5, 2.5, 2.0])
    straight = lambda z, q: jnp.sum(vq.straight_through(z, q) ** 2)
    by_z, by_q = jax.grad(straight, (0, 1))(z, z_q)
    np.testing.assert_allclose(by_z, 2 * z_q)
    np.testing.assert_array_equal(by_q, 0)
    by_z, by_q = jax.grad(vq.commitment_loss, (0, 1))(z, z_q)
    np.testing.assert_allclose(by_z, 2 * (z - z_q) / 3, rtol=1e-6)
    np.testing.assert_array_equal(by_q, 0)
    by_z, by_q = jax.grad(vq.codebook_loss, (0, 1))(z, z_q)
    np.testing.assert_array_equal(by_z, 0)
    np.testing.assert_allclose(by_q, 2 * (z_q - z) / 3, rtol=1e-6)


# -- use of a codebook -----------------------------------------------------------------


def test_counts_usage_and_perplexity() -> None:
    counts = vq.code_counts(jnp.asarray([[0, 2], [2, 2]]), 4)
    assert counts.tolist() == [1, 0, 3, 0]
    assert vq.usage(counts) == 0.5
    assert vq.usage(counts, at_least=2) == 0.25
    entropy = -(0.25 * np.log(0.25) + 0.75 * np.log(0.75))
    np.testing.assert_allclose(vq.perplexity(counts), np.exp(entropy), rtol=1e-6)
    np.testing.assert_allclose(vq.perplexity(jnp.ones(8)), 8, rtol=1e-6)
    assert vq.perplexity(jnp.zeros(8)) == 1


# -- moving averages -------------------------------------------------------------------


@pytest.mark.parametrize("level", [0, 1])
def test_update_of_jukebox(level: int) -> None:
    path = COMPLETE / "parity_jukebox.npz"
    if not path.exists():
        pytest.skip("no parity_jukebox.npz: name its folder, CDCD_JAX_GOLDEN")
    golden = np.load(path)
    z = golden[f"out/enc_level{level}"].transpose(0, 2, 1).reshape(-1, 16)
    book = golden[f"params/bottleneck.level_blocks.{level}.k"]
    codes = vq.nearest_codes(z, book)
    np.testing.assert_array_equal(codes, golden[f"out/codes_level{level}"].ravel())
    # restore_k(num_tokens=64): two vectors a code are expected
    state, figures = vq.update_ema(
        vq.init_ema(book, 64 / 32),
        jnp.asarray(z),
        codes,
        jax.random.key(0),
        decay=0.99,
        revive_below=1.0,
        order=jnp.asarray(golden[f"train/perm_level{level}"]),
        restart=False,
    )
    part = lambda name: golden[f"train/{name}_level{level}"]
    np.testing.assert_allclose(state.sums, part("k_sum"), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(state.counts, part("k_elem"), rtol=1e-5)
    np.testing.assert_allclose(state.codebook, part("k_new"), rtol=1e-5, atol=1e-6)
    assert figures["usage"] == np.mean(part("k_elem") >= 1.0)


def loop_update(book, sums, counts, z, codes, decay, below, rows):
    """The rule a code at a time."""
    sums, counts, book = sums.copy(), counts.copy(), book.copy()
    for k in range(len(book)):
        own = z[codes == k]
        sums[k] = decay * sums[k] + (1 - decay) * own.sum(0)
        counts[k] = decay * counts[k] + (1 - decay) * len(own)
        book[k] = sums[k] / counts[k] if counts[k] >= below else rows[k]
    return book, sums, counts


def test_updates_by_a_loop() -> None:
    rng = np.random.default_rng(0)
    book = rng.normal(size=(6, 3)).astype(np.float32)
    state = vq.init_ema(book, 2.0)
    expected = book, 2 * book, np.full(6, 2.0)
    update = jax.jit(
        vq.update_ema, static_argnames=("decay", "revive_below", "restart")
    )
    for step in range(20):
        z = rng.normal(size=(10, 3)).astype(np.float32)
        codes, order = rng.integers(0, 4, 10), rng.permutation(10)
        state, figures = update(
            state,
            z,
            codes,
            jax.random.key(step),
            decay=0.8,
            revive_below=1.0,
            order=order,
            restart=False,
        )
        expected = loop_update(*expected, z, codes, 0.8, 1.0, z[order[:6]])
        for ours, theirs in zip(
            (state.codebook, state.sums, state.counts), expected, strict=True
        ):
            np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
        assert figures["revived"] == np.sum(expected[2] < 1.0)
    assert figures["revived"] >= 2  # codes 4 and 5 had none


def test_codes_come_back_as_rows_of_the_data() -> None:
    z = jax.random.normal(jax.random.key(0), (50, 4))
    state = vq.init_ema(jnp.full((8, 4), 100.0), 0.0)
    codes = jnp.zeros(50, jnp.int32)
    rule = dict(decay=0.99, revive_below=1.0)
    new, figures = vq.update_ema(state, z, codes, jax.random.key(1), **rule)
    assert figures["revived"] == 8 and figures["usage"] == 0
    rows = {tuple(row) for row in np.asarray(z)}
    found = {tuple(row) for row in np.asarray(new.codebook)}
    assert len(found) == 8 and found <= rows
    other, _ = vq.update_ema(state, z, codes, jax.random.key(2), **rule)
    assert not np.array_equal(new.codebook, other.codebook)


def test_fewer_vectors_than_codes() -> None:
    z = jnp.asarray([[1.0, 1.0], [-1.0, -1.0]])
    state = vq.init_ema(jnp.zeros((7, 2)), 0.0)
    update = jax.jit(lambda *a: vq.update_ema(*a, decay=0.9, revive_below=1.0))
    new, _ = update(state, z, jnp.zeros(2, jnp.int32), jax.random.key(0))
    book = np.asarray(new.codebook)
    assert len(np.unique(book, axis=0)) == 7
    assert np.abs(np.abs(book) - 1).max() < 0.1


def test_an_unused_code_stays_without_revival() -> None:
    book = jnp.asarray([[1.0, 2.0], [3.0, 4.0]])
    state = vq.init_ema(book, 0.0)
    z, codes = jnp.ones((4, 2)), jnp.zeros(4, jnp.int32)
    for step in range(3):
        key = jax.random.key(step)
        state, figures = vq.update_ema(state, z, codes, key, decay=0.9, revive_below=0)
    np.testing.assert_allclose(state.codebook, [[1, 1], [3, 4]], rtol=1e-6)
    assert figures["revived"] == 0


# -- Gumbel codes ----------------------------------------------------------------------


def test_gumbel_of_the_reference(golden: dict[str, np.ndarray]) -> None:
    logits = channels_last(golden["gumbel/logits"])
    noise = -np.log(channels_last(golden["gumbel/exp_noise"]))
    embed = golden["gumbel_params/quantize.embed.weight"]
    codes = vq.gumbel_codes(logits, gumbel=noise)
    np.testing.assert_array_equal(codes, golden["gumbel/indices"])
    np.testing.assert_array_equal(
        vq.gumbel_codes(logits), golden["gumbel/argmax_indices"]
    )
    z_q, kl = vq.gumbel_embed(logits, embed, None, 1.0, gumbel=noise)
    close = np.testing.assert_allclose
    close(z_q, channels_last(golden["gumbel/quant"]), rtol=0, atol=1e-5)
    close(1e-3 * kl, golden["gumbel/diff"], rtol=1e-5)
    noise = -np.log(channels_last(golden["gumbel/soft_exp_noise"]))
    soft, _ = vq.gumbel_embed(logits, embed, None, 0.7, hard=False, gumbel=noise)
    close(soft, channels_last(golden["gumbel/soft_quant"]), rtol=0, atol=1e-5)


def test_gumbel_codes_are_samples() -> None:
    logits = jnp.log(jnp.asarray([0.5, 0.25, 0.15, 0.1]))
    codes = vq.gumbel_codes(jnp.tile(logits, (40000, 1)), jax.random.key(0))
    shares = np.bincount(codes, minlength=4) / 40000
    np.testing.assert_allclose(shares, np.exp(logits), atol=0.01)  # 4 deviations


def test_gumbel_gradient_is_that_of_the_softmax() -> None:
    logits = jax.random.normal(jax.random.key(0), (5, 6))
    embed = jax.random.normal(jax.random.key(1), (6, 3))
    noise = jax.random.gumbel(jax.random.key(2), (5, 6))
    weight = jax.random.normal(jax.random.key(3), (5, 3))

    def loss(logits: jax.Array, hard: bool) -> jax.Array:
        z_q, _ = vq.gumbel_embed(logits, embed, None, 0.5, hard, gumbel=noise)
        return jnp.sum(z_q * weight)

    hard, soft = jax.grad(loss)(logits, True), jax.grad(loss)(logits, False)
    np.testing.assert_allclose(hard, soft, rtol=1e-5, atol=1e-6)


def test_divergence_from_uniform() -> None:
    logits = jnp.asarray([[0.0, 0.0, 0.0, 0.0], [90.0, 0.0, 0.0, 0.0]])
    embed = jnp.eye(4)
    kl = lambda rows: vq.gumbel_embed(rows, embed, None, 1.0)[1]
    np.testing.assert_allclose(kl(logits[:1]), 0, atol=1e-6)
    np.testing.assert_allclose(kl(logits[1:]), np.log(4), rtol=1e-6)


# -- remap -----------------------------------------------------------------------------


def test_remap_of_the_reference(golden: dict[str, np.ndarray]) -> None:
    # 55 codes, the last of which no entry becomes
    table = from_table(golden["codec/full_to_quantize"], 55)
    full = golden["codec/full_code"]
    np.testing.assert_array_equal(table["back"], golden["codec/quantize_to_full"])
    token = table["to"][full]
    np.testing.assert_array_equal(token, golden["codec/token"])
    np.testing.assert_array_equal(table["back"][token], golden["codec/full_code_back"])
