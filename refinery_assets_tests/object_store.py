"""A real object store on loopback: SeaweedFS, started, filled and ended; and a relay before it that breaks.

Here: the servers. Not here: fixtures (`conftest.py`) and anything that asserts.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from refinery_assets.contract.places import ObjectPrefix

KEYS = {"AWS_ACCESS_KEY_ID": "refinery", "AWS_SECRET_ACCESS_KEY": "secret-4711"}
BUCKET = "refinery"
_SECONDS_TO_START = 60.0
_PORTS = (
    *("s3.port", "s3.port.grpc", "master.port", "master.port.grpc", "volume.port", "volume.port.grpc"),
    *("filer.port", "filer.port.grpc", "admin.port", "admin.port.grpc"),
)


def weed() -> str | None:
    """The program; None where it is not installed."""
    return shutil.which("weed", path=str(Path(sys.executable).parent)) or shutil.which("weed")


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody listens at."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(closing(socket.socket())) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


@contextmanager
def running_store(program: str, folder: Path) -> Iterator[str]:
    """An object store with one bucket; gives its address, and ends it."""
    ports = dict(zip(_PORTS, free_ports(len(_PORTS)), strict=True))
    options = [f"-{name}={port}" for name, port in ports.items()]
    off = ["-master.telemetry=false", "-admin.ui=false", "-webdav=false", "-s3.port.iceberg=0", "-s3.port.lance=0"]
    command = [program, "mini", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-bucket={BUCKET}"]
    url = f"http://127.0.0.1:{ports['s3.port']}"
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen([*command, *off, *options], env=KEYS, cwd=folder, stdout=log, stderr=log)
    try:
        _wait_for(url, server, folder / "log")
        yield url
    finally:
        # Asked to end, it takes more than ten seconds, and what it holds is thrown away.
        server.kill()
        server.wait()


def _wait_for(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    """Until the bucket can be listed: it is made some time after the server begins to answer."""
    from obstore.exceptions import BaseError  # noqa: PLC0415 - not everywhere installed
    from obstore.store import S3Store  # noqa: PLC0415

    bucket = S3Store(
        BUCKET,
        endpoint=url,
        access_key_id=KEYS["AWS_ACCESS_KEY_ID"],
        secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
        client_options={"allow_http": True},
        retry_config={"max_retries": 0},
    )
    give_up = time.monotonic() + _SECONDS_TO_START
    while True:
        with suppress(BaseError):
            bucket.list_with_delimiter()
            return
        assert server.poll() is None, log.read_text(errors="replace")
        assert time.monotonic() < give_up, log.read_text(errors="replace")
        time.sleep(0.1)


def upload(folder: Path, prefix: ObjectPrefix) -> None:
    """Put all files of a folder below a prefix."""
    for path in folder.rglob("*"):
        if path.is_file():
            put(prefix, path.relative_to(folder).as_posix(), path.read_bytes())


def put(prefix: ObjectPrefix, name: str, data: bytes) -> None:
    """Put an object, by no code of the refinery's."""
    from obstore.store import S3Store  # noqa: PLC0415 - not everywhere installed

    S3Store(prefix.bucket, prefix=prefix.prefix, client_options={"allow_http": True}).put(name, data)


@dataclass
class Relay:
    """Passes on what clients and a server say, until one of them has said so many bytes; then it is dead, or hangs up.

    Attributes:
        server: The port of the server.
        told_left: How much the server may still say; None: all that it wants.
        asked_left: How much its clients may still say; None: likewise.
        hangs_up: Whether it only ends the connections that are open then, once, and takes new ones.
        url: Where clients find it.
    """

    server: int
    told_left: int | None = None
    asked_left: int | None = None
    hangs_up: bool = False
    url: str = ""
    _open: list[socket.socket] = field(default_factory=list)
    _listener: socket.socket | None = None

    def __enter__(self) -> Relay:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._die()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                server = socket.create_connection(("127.0.0.1", self.server))
                self._open += [client, server]
                for way in ((client, server, "asked_left"), (server, client, "told_left")):
                    threading.Thread(target=self._pass_on, args=way, daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket, limit: str) -> None:
        with suppress(OSError):
            while data := source.recv(2**14):
                left = getattr(self, limit)
                if left is not None:
                    data = data[:left]
                    setattr(self, limit, left - len(data))
                target.sendall(data)
                if getattr(self, limit) == 0:
                    if self.hangs_up:
                        setattr(self, limit, None)
                        self._hang_up()
                    else:
                        self._die()
                    return
        for each in (source, target):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _die(self) -> None:
        """Nobody listens any more, and what was being said breaks off."""
        if self._listener is not None:
            with suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
        self._hang_up()

    def _hang_up(self) -> None:
        """What is being said breaks off."""
        for each in self._open:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
