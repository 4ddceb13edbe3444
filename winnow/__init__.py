"""The command line: starts the services as processes, speaks to them over HTTP, loads the lab when called."""
