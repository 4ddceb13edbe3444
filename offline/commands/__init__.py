"""The commands of `winnow lab`, a module for each area."""
