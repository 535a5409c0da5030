"""How a run goes; it knows no single check."""
