"""What is verified: nothing but checks, a folder a family, and the list of them."""
