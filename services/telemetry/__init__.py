"""Logs, trace context and HTTP metrics of every service."""
