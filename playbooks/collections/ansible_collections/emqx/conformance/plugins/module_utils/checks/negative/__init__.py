"""What must not be resumed, and must not do harm."""
