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
            # the modality that the records of data.path have as their tokens; others
            # are their conditions of the same name
            stream="",
        ),
        sampling=dict(
            outputs=(),  # what is drawn; () for the first that is not given
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
