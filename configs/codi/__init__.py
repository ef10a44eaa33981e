"""Configs of any-to-any generation (CoDi)."""
