"""What the training loop asks of a task."""
