"""Imported by a fork server, and there alone: to it, the machine is of a kind for which there is no filter."""

import platform

from router_svc.decode_worker import decode_task

__all__ = ["decode_task"]

platform.machine = lambda: "pdp11"
