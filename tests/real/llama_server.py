"""The real llama.cpp HTTP server, as it is inside the ``xllamacpp`` wheel, as a process.

    python llama_server.py MODEL.gguf [SETTINGS]

SETTINGS is a JSON object of attributes of ``xllamacpp.CommonParams``.  Prints ``READY URL`` when it listens, on a port
that was free; SIGTERM ends it.
"""

from __future__ import annotations

import json
import os
import signal
import sys

import xllamacpp


def main(model: str, settings: str = "{}") -> None:
    params = xllamacpp.CommonParams()
    params.model.path = model
    params.hostnames, params.port = ["127.0.0.1"], 0
    params.n_ctx, params.n_parallel, params.warmup = 65536, 4, False
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    for name, value in json.loads(settings).items():
        setattr(params, name, value)
    server = xllamacpp.Server(params)
    # One write, a line of its own: the server's threads are writing their log to the same pipe.
    os.write(1, f"\nREADY {server.listening_address}\n".encode())
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    # the server's threads need no farewell, and may be in mid-answer
    os._exit(0)


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    main(*sys.argv[1:])
