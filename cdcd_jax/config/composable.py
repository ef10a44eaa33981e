"""Settings of diffusers that share prompts (CoDi): `task` = "composable"."""

from typing import Any

from cdcd_jax.config import sections


def settings() -> dict[str, Any]:
    """Its sections with their defaults.

    `optim.num_steps` = 0 makes one model of the parts that `init_parts` names: towers
    as prompts/<modality>, diffusers as diffusers/<modality>.
    """
    return dict(
        data=sections.data(),
        model=dict(
            # modality -> a tower, see networks.towers, without field and frozen; what
            # gives a prompt
            prompts={},
            features=32,  # of a prompt's vector
            # modality -> dict(task="conditional" or "mt_diffusion", model=.., ..): what
            # draws it, sections of a config as its own stage has them, but for data,
            # sampling, optim, stages and conditions
            diffusers={},
            # how diffusers that draw together see each other, see networks.environment
            # and tasks.alignment
            environment=dict(
                # features of a slot; 0 for no environment, else model.features, as
                # model.environment of each diffuser says too
                size=0,
                slots=1,  # vectors that each shows; 1 for a pooled one alone
                # by what a diffuser learns to see them: an attention of each block, and
                # their mean, added to the vector of time and prompt
                ways=("attention", "vector"),
                width=64,  # of the encoders of states, as are depth and heads
                depth=2,
                heads=4,
                # the modalities, all of the records, that this run aligns; others, and
                # prompts and diffusers themselves, stay as they are
                trained=(),
                contrast=0.5,  # weight of the contrast with prompts
                temperature=0.1,  # of it, of cosines
                prompt_dropout=0.8,  # share of examples that have no prompt
            ),
            # the modality that the records of data.path have as their tokens; others
            # are their conditions of the same name
            stream="",
        ),
        sampling=dict(
            outputs=(),  # what is drawn; () for the first that is not given
            # of what outputs that are drawn together show each other; 0 draws each by
            # itself
            environment_scale=2.0,
            environment_scales={},  # modality -> the same of this output, if it differs
            # share of these scales that is left beside a prompt, which says most of
            # what the others would
            environment_prompted=0.5,
            # modality -> settings of its diffuser's sampler, such as method, beside
            # those of all below
            diffusers={},
            **sections.drawing(),
        ),
        eval=dict(
            **sections.evaluation(("steps", "grid", "guidance_scale")),
            # other records to judge it on: modality of their tokens -> directory; a
            # set is drawn for those that its `records` names, or for data.path
            others={},
            # a condition of all records whose classes the nearest prompt of another
            # modality is to tell; read to judge alone, "" for none
            probe="",
        ),
    )
