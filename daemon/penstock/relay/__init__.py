"""One stream's life: its scopes, its budgets, the pump, the heartbeats, and the transport to the backend.

The only part that waits.  It hands out one :class:`~penstock.relay.outcome.Outcome` per stream and knows nobody who
listens.
"""
