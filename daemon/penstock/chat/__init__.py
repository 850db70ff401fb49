"""The neutral tongue between all dialects: the request, the events of an answer, the life cycle of a stream.

Plain data and pure functions.  Knows no dialect, no socket and no clock.
"""
