"""The filter of the cascade: decodes videos, compares them with the seed bank, forwards risky ones to the ranker."""
