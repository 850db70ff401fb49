"""What people and machines see of the streams: log and metrics, fed with outcomes and with nothing else per stream."""
