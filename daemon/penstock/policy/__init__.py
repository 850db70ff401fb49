"""Pure decisions on plain data: where a request goes, when, and whether it may be tried again.

No clock, no socket, no task: time is passed in, waiting is done by the relay.
"""
