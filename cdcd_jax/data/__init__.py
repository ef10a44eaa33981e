"""Raw sources, token records and the input pipeline."""
