"""How a run goes, and what checks tell their stories with; it knows no single check."""
