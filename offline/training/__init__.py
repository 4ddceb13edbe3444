"""Training of the two bundled models: the router's CLIP with its head, and the ranker."""
