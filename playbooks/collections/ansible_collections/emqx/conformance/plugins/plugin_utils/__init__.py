"""What action plugins share; runs on the controller only."""
