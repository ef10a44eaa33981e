"""PyTorch checkpoints of other projects -> our parameters, one file a family."""
