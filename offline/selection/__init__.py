"""Which known violations become seeds, and what the choice, the number and the kind of seeds are worth."""
