"""Data sets of the ranker's training: D1 question-answer pairs, D2 captions, D3 classification, in equal numbers."""
