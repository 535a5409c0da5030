"""The catalogue of checks, what they tell their stories with, and what runs and judges them."""
