"""A synthetic world of short videos in which a violation is a relation between two things, not a thing."""
