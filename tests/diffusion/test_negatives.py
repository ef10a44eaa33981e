"""Tests of negatives made from the batch: what they hold and what they never hold."""

import brute_force as bf
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cdcd_jax.diffusion.negatives import chunk_layout, inter, intra

# (grid, chunks); the last music grids leave trailing positions over.
LAYOUTS = [
    ((1, 8), (1, 2)),
    ((1, 8), (1, 8)),
    ((4, 6), (2, 3)),
    ((4, 4), (4, 1)),
    ((2, 2), (1, 2)),
    ((1, 11), (1, 4)),
    ((1, 7), (1, 2)),
]


def pieces(rows: np.ndarray, grid: tuple[int, int], chunks: tuple[int, int]) -> list:
    """The chunks of a row of positions, cut out by slices; then what is left over."""
    canvas = rows.reshape(grid)
    h, w = grid[0] // chunks[0], grid[1] // chunks[1]
    cut = [
        tuple(canvas[i * h : (i + 1) * h, j * w : (j + 1) * w].ravel().tolist())
        for i in range(chunks[0])
        for j in range(chunks[1])
    ]
    return [*cut, tuple(canvas[:, chunks[1] * w :].ravel().tolist())]


@pytest.mark.parametrize(("grid", "chunks"), LAYOUTS)
def test_layout_lists_the_positions_of_each_chunk(grid, chunks) -> None:
    positions = np.arange(grid[0] * grid[1])
    expected = pieces(positions, grid, chunks)[:-1]
    assert [tuple(row) for row in chunk_layout(grid, chunks).tolist()] == expected


@pytest.mark.parametrize(("grid", "chunks"), LAYOUTS)
def test_intra_permutes_chunks_and_is_never_the_identity(grid, chunks) -> None:
    batch, number, length = 16, 25, grid[0] * grid[1]
    positions = np.arange(length)
    tokens = positions + 100 * np.arange(batch)[:, None]
    draw = bf.quick_jit(intra, static_argnums=(2, 3, 4))
    found = draw(jax.random.key(0), jnp.asarray(tokens), number, grid, chunks)
    assert found.shape == (batch, number, length)
    found = np.asarray(found) - 100 * np.arange(batch)[:, None, None]
    original = pieces(positions, grid, chunks)
    orders = set()
    for row in found.reshape(-1, length):
        cut = pieces(row, grid, chunks)
        assert sorted(cut[:-1]) == sorted(original[:-1])  # chunks stay whole
        assert cut[-1] == original[-1]  # the rest stays in place
        assert cut != original
        orders.add(tuple(row.tolist()))
    if len(original) - 1 > 2:  # anew for every example and negative
        assert len(orders) > 4
        assert len({rows.tobytes() for rows in found}) > batch // 2


def test_intra_reaches_every_order_but_the_identity() -> None:
    tokens = jnp.tile(jnp.arange(3), (500, 1))
    found = np.asarray(intra(jax.random.key(1), tokens, 2, (1, 3), (1, 3)))
    assert len({tuple(row) for row in found.reshape(-1, 3).tolist()}) == 5


@pytest.mark.parametrize(
    ("grid", "chunks"),
    [
        ((4, 4), (3, 2)),
        ((4, 4), (2, 3)),
        ((4, 4), (1, 1)),
        ((1, 8), (2, 2)),
        ((1, 8), (1, 1)),
        ((1, 4), (1, 8)),
    ],
)
def test_grids_that_the_chunks_do_not_cut_are_refused(grid, chunks) -> None:
    with pytest.raises(ValueError, match=r"contrastive\.chunks"):
        chunk_layout(grid, chunks)


# Two groups of 6: few others of label 0 in the first, none of label 4 in the second.
LABELS = np.array([0, 0, 0, 0, 1, 2, 4, 4, 4, 4, 4, 4])


def draw_inter(seed: int, labels: np.ndarray, number: int, group: int) -> tuple:
    """Indices of the examples that were drawn, and which of them exist."""
    tokens = jnp.tile(jnp.arange(len(labels))[:, None], (1, 3))
    key = jax.random.key(seed)
    draw = bf.quick_jit(inter, static_argnums=(3, 4))
    found, valid = draw(key, tokens, jnp.asarray(labels), number, group)
    assert found.shape == (len(labels), number, 3) and valid.dtype == bool
    np.testing.assert_array_equal(found, np.repeat(found[..., :1], 3, -1))
    return np.asarray(found[..., 0]), np.asarray(valid)


@pytest.mark.parametrize("number", [1, 3, 5])
@pytest.mark.parametrize("caption", [False, True])
def test_inter_draws_others_of_the_group_without_repetition(
    number: int, caption: bool
) -> None:
    labels = LABELS
    if caption:  # a sequence; it differs when any entry does
        labels = np.stack([np.full(12, 7), LABELS, np.full(12, 7)], 1)
    for seed in range(5):
        drawn, valid = draw_inter(seed, labels, number, 6)
        for i in range(12):
            group = range(i // 6 * 6, i // 6 * 6 + 6)
            others = [j for j in group if LABELS[j] != LABELS[i]]
            chosen = drawn[i][valid[i]].tolist()
            assert set(chosen) <= set(others)
            assert len(set(chosen)) == len(chosen) == min(number, len(others))
            assert set(drawn[i].tolist()) <= set(group)  # invalid ones stay inside too


def test_inter_draws_all_others_equally_often() -> None:
    labels = jnp.array([0, 0, 1, 2, 3, 4])
    tokens = jnp.arange(6)[:, None]
    keys = jax.random.split(jax.random.key(3), 3000)
    found, _ = bf.quick_jit(jax.vmap(lambda key: inter(key, tokens, labels, 2, 6)))(
        keys
    )
    counts = np.bincount(np.ravel(found[:, 0]), minlength=6)
    assert bf.chi_squared(counts, np.array([0, 0, 1, 1, 1, 1]) / 4) > 1e-3


def test_a_group_does_not_see_the_others() -> None:
    """Changing one group leaves the negatives of another as they were."""
    tokens = jnp.arange(12)[:, None]
    changed = tokens.at[6:].add(50)
    labels = jnp.asarray(LABELS)
    one = inter(jax.random.key(0), tokens, labels, 3, 6)
    two = inter(jax.random.key(0), changed, labels.at[6:].set(9), 3, 6)
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a[:6], b[:6])


@pytest.mark.parametrize(("number", "group"), [(2, 5), (6, 6), (2, 24)])
def test_groups_that_do_not_fit_are_refused(number: int, group: int) -> None:
    with pytest.raises(ValueError, match=rf"contrastive.group = {group} must divide"):
        draw_inter(0, LABELS, number, group)
