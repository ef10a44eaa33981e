"""Records the schedules and single steps of diffusers' DDPMScheduler and DDIMScheduler.

    python tests/golden/make_gaussian.py

Needs torch and diffusers (made with 2.13.0 and 0.42.1, on a CPU). What goes in is
stored beside what comes out. Levels are kept in float64 there, since diffusers' own
product of 1000 float32 numbers is off by 1e-6.
"""

import pathlib

import diffusers.schedulers.scheduling_ddpm as ddpm
import numpy as np
import torch
from diffusers import DDIMScheduler, DDPMScheduler

HERE = pathlib.Path(__file__).resolve().parent
T, SHAPE = 1000, (2, 3)
KINDS = {"noise": "epsilon", "x_0": "sample", "v": "v_prediction"}
SCHEDULES = {
    "linear": dict(beta_schedule="linear", beta_start=1e-4, beta_end=0.02),
    "sqrt_linear": dict(
        beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012
    ),
    "cosine": dict(beta_schedule="squaredcos_cap_v2"),
}


def made(cls: type, name: str, steps: int, **changes: object) -> object:
    """A scheduler that visits T, T - T / steps, ..: our uniform grid."""
    found = cls(
        num_train_timesteps=T,
        clip_sample=False,
        timestep_spacing="trailing",
        **SCHEDULES[name],
        **changes,
    )
    precise = torch.linspace(1e-4, 0.02, T, dtype=torch.float64)
    if name == "sqrt_linear":
        precise = torch.linspace(0.00085**0.5, 0.012**0.5, T, dtype=torch.float64) ** 2
    if name == "cosine":
        precise = found.betas.double()
    assert float((precise - found.betas).abs().max()) < 1e-7
    if name != "cosine":
        found.betas, found.alphas = precise, 1 - precise
        found.alphas_cumprod = torch.cumprod(found.alphas, 0)
    found.set_timesteps(steps)
    return found


def main() -> None:
    rng = np.random.default_rng(0)
    kept = {}
    for name in SCHEDULES:
        scheduler = made(DDPMScheduler, name, T)
        kept[f"{name}/alpha_bar"] = scheduler.alphas_cumprod.numpy()
    x, said, noise = rng.normal(size=(3, *SHAPE))
    kept.update(x=x, said=said, noise=noise)
    x, said, noise = (torch.tensor(a) for a in (x, said, noise))
    ddpm.randn_tensor = lambda *args, **kwargs: noise
    scheduler = made(DDPMScheduler, "linear", T)
    times = torch.tensor([0, 499])
    kept["noised"] = scheduler.add_noise(x, noise, times).numpy()
    for name in ("linear", "sqrt_linear"):
        for steps in (T, 10):
            for kind, theirs in KINDS.items():
                for variance in ("small", "large"):
                    scheduler = made(
                        DDPMScheduler,
                        name,
                        steps,
                        prediction_type=theirs,
                        variance_type=f"fixed_{variance}",
                    )
                    # our t - 1; at the last of 10 steps diffusers adds beta's noise
                    for t in (T, T // 2, *([1] if steps == T else [])):
                        out = scheduler.step(said, t - 1, x).prev_sample
                        kept[f"{name}/{steps}/{kind}/{variance}/{t}"] = out.numpy()
                for eta in (0.0, 0.5, 1.0):
                    scheduler = made(DDIMScheduler, name, steps, prediction_type=theirs)
                    for t in (T, T // 2, T // steps):
                        out = scheduler.step(
                            said, t - 1, x, eta=eta, variance_noise=noise
                        ).prev_sample
                        kept[f"{name}/{steps}/{kind}/{eta}/{t}"] = out.numpy()
    np.savez_compressed(HERE / "gaussian_schedulers.npz", **kept)


if __name__ == "__main__":
    main()
