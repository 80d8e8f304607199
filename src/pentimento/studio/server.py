"""Start the studio: one process for the page, one for the model, on this machine alone."""

import os
import secrets
import socket
import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import Final

import uvicorn

from pentimento.errors import PentimentoError
from pentimento.studio.app import create_app
from pentimento.studio.store import Store
from pentimento.studio.worker import Worker

PORT: Final = 8765


def default_folder() -> Path:
    """Return where documents are kept: the system's place for an application's state."""
    given = os.environ.get("XDG_STATE_HOME") or os.environ.get("LOCALAPPDATA")
    base = Path(given) if given else Path.home() / ".local" / "state"
    return base / "pentimento" / "studio"


def run(
    folder: Path, port: int | None, model: str | None, browser: bool, say: Callable[[str], None]
) -> None:
    """Serve the studio until it is interrupted.

    Args:
        folder: where documents are kept.
        port: None takes the usual one, or any other that is free.
        model: folder of a portrait generator, None for the bundled one.
        browser: open the page in the person's browser.
        say: called with the address.

    Raises:
        PentimentoError: the port is taken.
    """
    listener = _listener(port)
    number = listener.getsockname()[1]
    token = secrets.token_urlsafe(24)
    hosts = [f"{name}:{number}" for name in ("127.0.0.1", "localhost")]
    app = create_app(Store(folder), Worker(model), token, hosts)
    address = f"http://127.0.0.1:{number}/{token}/"
    say(address)
    if browser:
        webbrowser.open(address)
    config = uvicorn.Config(app, log_level="warning", access_log=False, server_header=False)
    uvicorn.Server(config).run(sockets=[listener])


def _listener(port: int | None) -> socket.socket:
    """Return a socket on the loopback interface."""
    for candidate in (PORT, 0) if port is None else (port,):
        listener = socket.socket()
        if os.name == "posix":  # elsewhere it would let two programs share the port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", candidate))
        except OSError as error:
            listener.close()
            if candidate != PORT or port is not None:
                raise PentimentoError(
                    f"port {candidate} cannot be used ({error.strerror}); choose another --port"
                ) from error
        else:
            listener.listen()  # whoever opens the address at once shall wait, not fail
            return listener
    raise AssertionError("port 0 is always free")
