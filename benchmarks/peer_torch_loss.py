"""The diffusion loss as public PyTorch code computes it, and one reverse step.

Tokens are log-probabilities of K + 1 classes (the last is the mask M) and posteriors
are formed for every class at every position (Gu et al. 2022, eq. 8-11): once for the
network, once for the sample, and once more for each negative. Written anew from the
formulas; in float32, without the public code's detour over float64 and int64.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from peer_shapes import AUXILIARY_WEIGHT, SCHEDULE, Shape
from torch import nn

from cdcd_jax.diffusion.schedule import make_schedule

FLOOR = 70.0  # nats, as the public code clamps
TINY = 1e-30  # for the zeros of a one-hot vector


class Dense(nn.Module):
    """Posterior algebra over the times of a grid; entry 0 is data, S the prior.

    Args:
        shape: gives K and T.
        times: of 0..T, rising from 0; None for all.
    """

    def __init__(self, shape: Shape, times: np.ndarray | None = None):
        super().__init__()
        self.num_codes, self.timesteps = shape.num_codes, shape.timesteps
        self.weight = shape.weight
        levels = make_schedule(SCHEDULE, shape.num_codes, shape.timesteps)
        times = np.arange(shape.timesteps + 1) if times is None else times
        alpha_bar, mass = levels.alpha_bar[times], levels.uniform_mass[times]
        code = alpha_bar + mass
        alpha = alpha_bar[1:] / alpha_bar[:-1]
        beta = (mass[1:] - alpha * mass[:-1]) / code[:-1] / shape.num_codes
        stay = code[1:] / code[:-1]
        bars = alpha_bar, mass / shape.num_codes, 1 - code, code
        for name, rows in ("bars", bars), ("steps", (alpha, beta, 1 - stay, stay)):
            table = np.log(np.maximum(np.stack(rows), TINY))
            self.register_buffer(name, torch.from_numpy(table).float())
        self.register_buffer("classes", torch.arange(shape.num_codes + 1))

    def log_one_hot(self, tokens: torch.Tensor) -> torch.Tensor:
        """[B, L] -> [B, L, K + 1], 0 or log TINY."""
        same = self.classes == tokens[..., None]
        return torch.where(same, 0.0, math.log(TINY))

    @staticmethod
    def noise(log_x: torch.Tensor, rates: torch.Tensor) -> torch.Tensor:
        """Law after a jump with `rates` [4, B, 1, 1] from the law exp(log_x)."""
        alpha, beta, gamma, stay = rates
        codes = torch.logaddexp(log_x[..., :-1] + alpha, beta)
        mask = torch.logaddexp(log_x[..., -1:] + stay, gamma)
        return torch.cat([codes, mask], dim=-1)

    def posterior(
        self, log_x: torch.Tensor, x_t: torch.Tensor, t: torch.Tensor
    ) -> torch.Tensor:
        """log q(x_{t-1} | x_t) for x_0 of the law exp(log_x), [B, L, K + 1]."""
        at = lambda table, index: table[:, index, None, None]
        masked = (x_t == self.num_codes)[..., None]
        log_x_t = self.log_one_hot(x_t)

        def likelihood(rates: torch.Tensor) -> torch.Tensor:
            """log q(x_t | each code before the jump)."""
            return torch.where(masked, rates[2], self.noise(log_x_t, rates)[..., :-1])

        q = log_x[..., :-1] - likelihood(at(self.bars, t))
        total = torch.logsumexp(q, dim=-1, keepdim=True)
        q = F.pad(q - total, (0, 1), value=math.log(TINY))
        before = self.noise(q, at(self.bars, t - 1))
        mask = torch.where(masked, 0.0, math.log(TINY))
        step = torch.cat([likelihood(at(self.steps, t - 1)), mask], dim=-1)
        return (before + step + total).clamp(-FLOOR, 0.0)

    def log_x_0(self, logits: torch.Tensor) -> torch.Tensor:
        """log p_theta(x_0), with the mask's row: [B, L, K] -> [B, L, K + 1]."""
        log_p = F.log_softmax(logits.float(), dim=-1).clamp(min=-FLOOR)
        return F.pad(log_p, (0, 1), value=-FLOOR)

    def forward(
        self,
        logits: torch.Tensor,
        x_t: torch.Tensor,
        tokens: torch.Tensor,
        negatives: list[torch.Tensor],
        t: torch.Tensor,
    ) -> torch.Tensor:
        """Bound + auxiliary term - weighted mean over negatives, nats a token.

        Args:
            logits: [B, L, K].
            x_t, tokens: [B, L].
            negatives: N of [B, L].
            t: [B], 1..T.
        """
        log_x_0 = self.log_x_0(logits)
        model = self.posterior(log_x_0, x_t, t)

        def divergence(z: torch.Tensor) -> torch.Tensor:
            log_z = self.log_one_hot(z)
            true = self.posterior(log_z, x_t, t)
            kl = (true.exp() * (true - model)).sum(dim=(1, 2))
            nll = -(log_z.exp() * model).sum(dim=(1, 2))
            return torch.where(t == 1, nll, kl)

        share = (t - 1) / self.timesteps
        log_x = self.log_one_hot(tokens)
        difference = log_x.exp() * (log_x - log_x_0)
        auxiliary = difference[..., :-1].sum(dim=(1, 2))
        total = divergence(tokens) + AUXILIARY_WEIGHT * (2 - share) * auxiliary
        for z in negatives:
            total = total - self.weight / len(negatives) * (1 + share) * divergence(z)
        # 1 / p(t) = T
        return total.mean() * (self.timesteps / x_t.shape[1])

    def draw(self, logits: torch.Tensor, x_t: torch.Tensor, t: torch.Tensor):
        """x_{t-1} by adding Gumbel noise to the posterior; int64 [B, L]."""
        log_p = self.posterior(self.log_x_0(logits), x_t, t)
        noise = -torch.log(-torch.log(torch.rand_like(log_p) + TINY) + TINY)
        return (log_p + noise).argmax(dim=-1)

    def noised(self, tokens: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """x_t ~ q(x_t | x_0), by index."""
        code = torch.randint_like(tokens, self.num_codes)
        u = torch.rand(tokens.shape, device=tokens.device)
        alpha_bar = self.bars[0, t, None].exp()
        gamma_bar = self.bars[2, t, None].exp()
        x_t = torch.where(u < alpha_bar + gamma_bar, self.num_codes, code)
        return torch.where(u < alpha_bar, tokens, x_t)
