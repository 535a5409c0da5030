"""Whether resumption works."""
