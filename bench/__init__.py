"""`make bench`: this project against what a user would pick instead, on the same nodes."""
