"""Networks that turn images into features: one architecture a file, under its official key names."""
