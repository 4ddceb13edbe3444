"""The public API: receives videos, has them judged by the cascade, merges the answers into one recorded decision."""
