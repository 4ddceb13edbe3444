"""Requests to addresses that strangers name: a guarded client, and downloads into the spool on top of it."""

from gateway.fetch.client import GuardedClient, Reply
from gateway.fetch.download import Downloader
from gateway.fetch.guard import GuardPolicy, Target
from gateway.fetch.network import Resolver, SystemResolver

__all__ = ["Downloader", "GuardPolicy", "GuardedClient", "Reply", "Resolver", "SystemResolver", "Target"]
