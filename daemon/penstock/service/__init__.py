"""The daemon's own life: find or read the configuration, start, serve, drain, stop."""
