"""The mathematics, as pure functions on arrays. Imports jax and numpy only."""
