"""Tokenizers: what turns pictures and sound into tokens."""
