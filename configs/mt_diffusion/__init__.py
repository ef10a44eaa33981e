"""Configs of MT-Diffusion: several modalities in one diffusion space."""
