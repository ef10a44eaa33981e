"""What a run is asked to do: every key with its default and its range, and merging.

Plain dicts and numbers: this room knows what may be asked, not how anything is done,
and imports neither jax nor ml_collections. Config files take what they need from here.
In reading order:

    keys         what all tasks share, the tasks' tables, `defaults`, `experiment`
    sections     sections that several tasks of diffusion share
    conditional  settings of a model that draws tokens under a condition
    mt_diffusion settings of a model of several modalities in one z
    tokenizer    settings of a tokenizer
    bridge       settings of towers whose vectors find each other
    composable   settings of diffusers that share prompts
    merging      one config over another; unknown keys and other types
    patterns     dotted keys with * and **
    ranges       which numbers a key may have
    changes      what a run that goes on may change
    stage_paths  "@stage" paths
    any_to_any   all stages of a composable model, of a table of modalities
    digit_modalities   what configs of it for digits have in common
    variants     the name behind the colon of --config, and random batches
    switches     how a model is computed, changed at any depth
    large        what the configs of large data sets have in common
    small        what those of scikit-learn's digits have
    reference    what those of CDCD's and VQ-Diffusion's models have
    records      the config of token records
    meanings     what each key means, read beside its default
    files        config files, their names and what they say
"""

from cdcd_jax.config.changes import CONTINUABLE, differences, joined
from cdcd_jax.config.keys import (
    TASK_SETTINGS,
    Config,
    defaults,
    experiment,
    with_defaults,
)
from cdcd_jax.config.merging import check_type, merge, unknown_key
from cdcd_jax.config.stage_paths import moved_along, resolve_stages, stage_of
from cdcd_jax.config.variants import SYNTHETIC, SYNTHETIC_MEDIA, variant

__all__ = [
    "CONTINUABLE",
    "SYNTHETIC",
    "SYNTHETIC_MEDIA",
    "TASK_SETTINGS",
    "Config",
    "check_type",
    "defaults",
    "differences",
    "experiment",
    "joined",
    "merge",
    "moved_along",
    "resolve_stages",
    "stage_of",
    "unknown_key",
    "variant",
    "with_defaults",
]
