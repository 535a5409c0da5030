"""Who may resume, and what a session gives away."""
