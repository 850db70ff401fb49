"""haproxy and nginx, as Debian has them, each before one server: what they take for HTTP is what others take for it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from textwrap import dedent

import trio

PROXIES = ("haproxy", "nginx")
MISSING = [name for name in PROXIES if shutil.which(name) is None]

#: What each of them puts into the head of every request that it forwards.
MARK = "X-Forwarded-By-Us"

CONFIGS = {
    "haproxy": """
        defaults
          mode http
          timeout client 3s
          timeout server 3s
          timeout connect 3s
          timeout http-request 1s
          http-reuse always
        frontend client
          bind unix@{folder}/haproxy.sock
          default_backend server
        backend server
          http-request set-header Host {host}
          http-request set-header {mark} yes
          server one {host}
    """,
    "nginx": """
        daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/nginx.log;
        events {{}}
        http {{
          access_log off;
          client_header_timeout 1s; client_body_timeout 1s;
          client_body_temp_path {folder}/1; proxy_temp_path {folder}/2;
          fastcgi_temp_path {folder}/3; uwsgi_temp_path {folder}/4; scgi_temp_path {folder}/5;
          upstream server {{ server {host}; keepalive 4; }}
          server {{
            listen unix:{folder}/nginx.sock;
            location / {{
              proxy_pass http://server; proxy_http_version 1.1; proxy_request_buffering off;
              proxy_set_header Host {host}; proxy_set_header Connection "";
              proxy_set_header {mark} yes;
            }}
          }}
        }}
    """,
}
COMMANDS = {"haproxy": ["haproxy", "-db", "-f"], "nginx": ["nginx", "-c"]}


@asynccontextmanager
async def before(host: str, folder: Path) -> AsyncIterator[dict[str, str]]:
    """Both of them before ``HOST:PORT``, which is asked by that name; their addresses by name."""
    quiet = subprocess.DEVNULL
    running = []
    try:
        for name in PROXIES:
            config = folder / f"{name}.conf"
            config.write_text(dedent(CONFIGS[name]).format(folder=folder, host=host, mark=MARK))
            running.append(subprocess.Popen([*COMMANDS[name], str(config)], stdin=quiet, stdout=quiet, stderr=quiet))
        for name, process in zip(PROXIES, running, strict=True):
            while not await answers(folder / f"{name}.sock"):
                assert process.poll() is None, f"{name} has ended"
                await trio.sleep(0.02)
        yield {name: f"unix:{folder}/{name}.sock" for name in PROXIES}
    finally:
        for process in running:
            process.kill()
            process.wait()


async def answers(path: Path) -> bool:
    try:
        stream = await trio.open_unix_socket(str(path))
    except OSError:
        return False
    await stream.aclose()
    return True
