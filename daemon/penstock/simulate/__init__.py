"""The stand-in backend: a small HTTP server that speaks the backends' dialects and misbehaves on demand.

It is an independent second opinion: it shares no code with ``dialects``, ``relay`` or ``server``.  ``script`` is what a
request asks for, ``faults`` what can go wrong, ``plan`` turns a script into timed writes, the voices (``openai`` and so
on) say how each thing is written, ``wire`` puts it into HTTP, ``connection`` performs it on a socket and ``records``
keeps what was seen.
"""
