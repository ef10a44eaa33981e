"""The mathematics, as pure functions on arrays. Imports jax and numpy only.

In reading order: `schedule` (noise levels), `transition` (coefficients of a jump,
forward noise, posterior), `objective` (the bound, the auxiliary term, the choice of t),
`contrastive` and `negatives` (a sample's loss against that of others), `grids` (which
times are visited), `guidance` (what is made of logits), `samplers` (a file each),
`process` (what a diffusion offers; `draw`, the one scan for one walk or many),
`mask_replace` (codes and a mask as such a process), `sampler` (`sample`, the case of
one walk, and the names that callers need). Arrays of numbers instead of codes:
`gaussian_schedule` (noise levels), `aggregation` (several modalities in one code, and
how far it is from the prior), `predictions` (noise, x_0 and v, one from another),
`gaussian_terms` (the bound), `gaussian_walk` (the way back), `gaussian` (all that as a
process).

Shapes of arrays stand in the annotations, in the language of jaxtyping, which the tests
check (`tests/diffusion/shapes.py`) and nothing needs at run time: "B L K" are examples,
tokens and codes, N candidates, S steps, T times; `visited` has S + 1 entries, `times`
has T + 1.
"""
