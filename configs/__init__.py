"""One file a run that somebody would make; `get_config` returns its settings."""
