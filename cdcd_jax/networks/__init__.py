"""The networks: denoiser, conditioners, tokenizers."""
