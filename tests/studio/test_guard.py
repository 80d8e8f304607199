"""Who is let in, and what hostile requests and files do."""

import base64
import io
import json
import os
import signal
import socket
import struct
import threading
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pentimento.studio.app import routes
from pentimento.studio.store import Store
from studio.conftest import Studio

SAMPLES = Path(__file__).parents[2] / "src" / "pentimento" / "studio" / "samples"
DOCUMENT = "/api/documents/0123456789abcdef"
PICTURE = f"{DOCUMENT}/pictures/picture-{'0' * 32}.jpg"
ROUTES = {
    ("GET", "/"): "/",
    ("GET", "/static/{name}"): "/static/main.js",
    ("GET", "/samples/{name}"): "/samples/brown.jpg",
    ("GET", "/api/health"): "/api/health",
    ("POST", "/api/cancel"): "/api/cancel",
    ("GET", "/api/documents"): "/api/documents",
    ("POST", "/api/documents"): "/api/documents",
    ("GET", "/api/documents/{identity}"): DOCUMENT,
    ("DELETE", "/api/documents/{identity}"): DOCUMENT,
    ("POST", "/api/documents/{identity}/face"): f"{DOCUMENT}/face",
    ("GET", "/api/documents/{identity}/frame"): f"{DOCUMENT}/frame",
    ("POST", "/api/documents/{identity}/preview"): f"{DOCUMENT}/preview",
    ("POST", "/api/documents/{identity}/steps"): f"{DOCUMENT}/steps",
    ("POST", "/api/documents/{identity}/position"): f"{DOCUMENT}/position",
    ("POST", "/api/documents/{identity}/pictures"): f"{DOCUMENT}/pictures",
    ("GET", "/api/documents/{identity}/pictures/{key}"): PICTURE,
    ("GET", "/api/documents/{identity}/pictures/{key}/faces"): f"{PICTURE}/faces",
    ("POST", "/api/documents/{identity}/pictures/{key}/frame"): f"{PICTURE}/frame",
    ("POST", "/api/documents/{identity}/save"): f"{DOCUMENT}/save",
}
"""Every route there is, with an address to ask it at."""


class _NoWorker:
    """Stands in for the model's process where nothing is asked of it."""


def test_every_route_is_listed_here(tmp_path: Path):
    app: Any = routes(Store(tmp_path), _NoWorker())  # type: ignore[arg-type]
    found = {(method, route.path) for route in app.routes for method in route.methods}
    assert found - {("HEAD", path) for _, path in found} == set(ROUTES)


@pytest.mark.parametrize("route", ROUTES, ids=" ".join)
def test_no_route_answers_without_this_launch_s_key(studio: Studio, route: tuple[str, str]):
    method, path = route[0], ROUTES[route]
    strangers: list[tuple[str, dict[str, str]]] = [
        ("", {}),
        ("x" * len(studio.token), {}),
        (studio.token[:-1], {}),
        (studio.token, {"host": "attacker.example"}),
        (studio.token, {"host": studio.host.split(":")[0]}),
        (studio.token, {"origin": "https://attacker.example"}),
        (studio.token, {"origin": "null"}),
        (studio.token, {"sec-fetch-site": "cross-site"}),
        (studio.token, {"sec-fetch-site": "same-site"}),
    ]
    for token, headers in strangers:
        answer = studio.ask(method, path, headers=headers, token=token)
        assert answer.status == 403, (token, headers)
    bare = studio.ask(method, path, token="api")
    assert bare.status == 403


def test_every_answer_carries_the_headers_that_keep_it_in_the_page(studio: Studio):
    for path in ("/", "/static/main.js", "/samples/brown.jpg", "/api/health", "/nowhere"):
        headers = studio.ask("GET", path).headers
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert not any(name.startswith("access-control") for name in headers)


def test_it_listens_on_the_loopback_interface_alone(studio: Studio):
    port = int(studio.host.split(":")[1])
    own = socket.gethostbyname(socket.gethostname())
    elsewhere = own if not own.startswith("127.") else "127.0.0.2"
    with socket.socket() as knock, pytest.raises(ConnectionRefusedError):
        knock.connect((elsewhere, port))


@pytest.mark.parametrize(
    "name",
    ["../app.py", "..%2fapp.py", "%2e%2e/app.py", "..\\app.py", "/etc/passwd", "C:\\x",
     "main.js%00", "....//app.py", "CON", "\\\\host\\share", "index.html"],
)  # fmt: skip
def test_no_name_leads_out_of_the_folders(studio: Studio, name: str):
    for path in (f"/static/{name}", f"/samples/{name}", f"{DOCUMENT}/pictures/{name}"):
        assert studio.ask("GET", path).status in (404, 422)
    identity = f"/api/documents/{name}"
    assert studio.ask("GET", identity).status in (404, 405, 422)
    studio.ask("DELETE", identity)
    assert (SAMPLES.parent / "app.py").exists()


def test_a_body_must_be_announced_and_small(studio: Studio):
    for header in (b"content-length: 999999999999", b"transfer-encoding: chunked"):
        host, port = studio.host.split(":")
        with socket.create_connection((host, int(port)), timeout=20) as line:
            line.sendall(
                b"POST /%b/api/documents HTTP/1.1\r\nhost: %b\r\n%b\r\n\r\n"
                % (studio.token.encode(), studio.host.encode(), header)
            )
            assert line.recv(64).startswith(b"HTTP/1.1 413")


def refused(studio: Studio, data: bytes, name: str = "x.jpg") -> str:
    answer = studio.ask("POST", f"/api/documents?name={name}", data)
    assert answer.status == 422, answer.body
    message: str = answer.json["message"]
    return message


def bomb(side: int) -> bytes:
    """A tiny PNG whose header claims a square of that side."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + body + chunk(b"IEND", b"")


def test_hostile_pictures_are_refused_with_a_reason_and_leave_nothing(studio: Studio):
    before = sorted(studio.documents.iterdir())
    svg = b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"
    assert "text (SVG, HTML or XML)" in refused(studio, svg)
    assert "claims more than" in refused(studio, bomb(30000))
    assert "100,000,000 pixels, more than the 60,000,000 allowed" in refused(studio, bomb(10000))
    assert "is empty" in refused(studio, b"", "nothing.png")
    assert "damaged" in refused(studio, (SAMPLES / "brown.jpg").read_bytes()[:900])
    assert refused(studio, b"GIF89a" + bytes(50), "a/b%5C%3Cb%3E.gif").startswith(
        "<b>.gif is a GIF"
    )
    assert sorted(studio.documents.iterdir()) == before


def project(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


def state(photo: str, **more: Any) -> bytes:
    document = {"format": 1, "photo": photo, "commands": []}
    history = {"position": 0, "steps": [{"label": "Open", "document": document}]}
    whole = {"format": 1, "name": "x", "pictures": {photo: "x"}, "history": history}
    return json.dumps(whole | more).encode()


def test_hostile_projects_write_nothing_anywhere(studio: Studio, tmp_path: Path):
    before = sorted(studio.documents.iterdir())
    key = "picture-" + "0" * 32 + ".jpg"
    cases = {
        "no picture or layer is called": project(
            {"journal.json": state("../../evil.jpg"), "../../evil.jpg": b"x"}
        ),
        "is damaged": project({"journal.json": state(key), key: b"not what the name says"}),
        "or it is damaged": project({"journal.json": state(key)}),
        "unpacks to more": project({f"n{i}": b"" for i in range(1300)}),
        "this is no document": project({"journal.json": b"[]"}),
        "no project file": b"PK\x03\x04" + bytes(40),
    }
    for message, data in cases.items():
        assert message in refused(studio, data, "x.pentimento")
    assert sorted(studio.documents.iterdir()) == before
    assert not list(studio.documents.parent.rglob("evil*"))


@pytest.fixture(scope="module")
def opened(studio: Studio) -> str:
    identity: str = studio.ask("POST", "/api/documents?sample=brown.jpg").json["id"]
    return f"/api/documents/{identity}"


def draft(layer: bytes) -> dict[str, Any]:
    return {"draft": {"layer": base64.b64encode(zlib.compress(layer)).decode()}}


def test_what_the_page_never_sends_is_refused(studio: Studio, opened: str):
    def said(path: str, body: Any) -> str:
        answer = studio.ask("POST", opened + path, body)
        assert answer.status == 422
        return str(answer.json.get("message", answer.json))

    assert "S x S bytes" in said("/preview", draft(bytes(10)))
    assert "no painted layer" in said("/preview", draft(bytes([77]) * 100))
    assert "larger than any" in said("/preview", draft(bytes(5_000_000)))
    assert "came damaged" in said("/preview", {"draft": {"layer": "!!"}})
    assert "no command" in said("/preview", {"draft": {"commands": [{"verb": "exec"}]}})
    foreign = {"verb": "swap", "region": "hair", "other": "/etc/passwd"}
    assert "does not hold" in said("/preview", {"draft": {"commands": [foreign]}})
    given = {"verb": "reshape", "mask": "/etc/passwd"}
    assert "does not hold" in said("/preview", {"draft": {"commands": [given]}})
    assert "extra_forbidden" in said("/save", {"what": "png", "path": "/tmp/x"})
    assert "history has the steps" in said("/position", {"position": 99})


def test_a_step_on_a_state_that_another_tab_has_left_is_refused(studio: Studio, opened: str):
    side = json.loads(studio.ask("GET", f"{opened}/frame").headers["x-facts"])["side"]
    layer = np.full((side, side), 255, np.uint8)
    layer[10:20, 10:20] = 13
    body = {"label": "Paint", "base": 0, **draft(layer.tobytes())}
    assert studio.ask("POST", f"{opened}/steps", body).status == 200
    assert studio.ask("POST", f"{opened}/steps", body).status == 409


def test_a_command_that_cannot_be_done_does_not_become_a_step(studio: Studio, opened: str):
    added = studio.ask("POST", f"{opened}/pictures?sample=blonde.jpg").json
    command = {"verb": "swap", "region": "glasses", "other": added["added"]}
    body = {"label": "Take", "base": added["position"], "draft": {"commands": [command]}}
    answer = studio.ask("POST", f"{opened}/steps", body)
    assert answer.status == 422
    assert answer.json["message"].startswith("blonde.jpg: its face shows no glasses")
    assert studio.ask("GET", opened).json["steps"] == added["steps"]


def test_a_place_is_left_behind_when_the_photo_is_taken_in(studio: Studio, opened: str):
    exif = Image.Exif()
    exif[0x8825] = {1: "N", 2: (51.0, 30.0, 0.0)}
    exif[0x010F] = "Maker"
    out = io.BytesIO()
    with Image.open(SAMPLES / "brown.jpg") as image:
        image.save(out, "JPEG", exif=exif)
    identity = studio.ask("POST", "/api/documents?name=a.jpg", out.getvalue()).json["id"]
    kept = next((studio.documents / identity).glob("picture-*.jpg"))
    with Image.open(kept) as image:
        assert 0x8825 not in image.getexif()
    packed = studio.ask("POST", f"/api/documents/{identity}/save", {"what": "project"}).body
    assert b"GPS" not in packed


def test_health_answers_while_the_model_works(studio: Studio, opened: str):
    pid = studio.model_pid()
    os.kill(pid, signal.SIGSTOP)
    try:
        answers: list[int] = []
        waiting = threading.Thread(
            target=lambda: answers.append(studio.ask("GET", f"{opened}/frame").status)
        )
        waiting.start()
        job = studio.until(lambda: studio.ask("GET", "/api/health").json["job"])
        assert job["kind"] == "frame"
        assert answers == []
    finally:
        os.kill(pid, signal.SIGCONT)
    waiting.join()
    assert answers == [200]
