"""The routes: bytes in, jobs to the model's process, documents to disk, bytes out."""

import asyncio
import base64
import binascii
import json
import zlib
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import quote

from fastapi import FastAPI, Query, Request, Response
from fastapi.responses import FileResponse, JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from pentimento.errors import PentimentoError
from pentimento.labels import CELEBAMASK19, IGNORE, REGIONS
from pentimento.session.document import (
    MIRRORED,
    Command,
    Document,
    Paint,
    command_json,
    parse_command,
)
from pentimento.session.faces import Where
from pentimento.session.history import History
from pentimento.session.journal import Journal, keep_layer, layer_from, shown_path
from pentimento.structures import LabelMap
from pentimento.studio.guard import App, Guard
from pentimento.studio.model_process import LIMITS, Answer
from pentimento.studio.store import Store
from pentimento.studio.worker import CancelledError, SupersededError, Worker

_HERE: Final = Path(__file__).resolve().parent
_TYPES: Final = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
_DRAFT: Final = "draft"
_LARGEST_LAYER: Final = 1280 * 1280

Name = Annotated[str, Query(max_length=200)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Pointed(_Strict):
    """Which face: one of the found ones, a box around it, or the whole picture."""

    index: int = Field(default=1, ge=1, le=99)
    box: tuple[float, float, float, float] | None = None
    aligned: bool = False


class Draft(_Strict):
    """A state that the page asks for.

    Attributes:
        commands: all commands but the painted layer; None for the document's own.
        layer: base64 of the deflated layer (S × S bytes); None for the document's own.
    """

    commands: list[dict[str, Any]] | None = Field(default=None, max_length=64)
    layer: str | None = Field(default=None, max_length=4 * 2**20)


class Asked(_Strict):
    """A preview that the page asks for."""

    draft: Draft = Draft()
    fine: bool = False


class Edited(_Strict):
    """A step that the page has made; `base` is the position it was made on."""

    label: str = Field(max_length=80)
    base: int = Field(ge=0)
    draft: Draft


class Moved(_Strict):
    """A jump in the history."""

    position: int = Field(ge=0)


class Wanted(_Strict):
    """What shall be saved."""

    what: Literal["source", "png", "mask", "project"]
    recipe: bool = True


def create_app(store: Store, worker: Worker, token: str, hosts: list[str]) -> App:
    """Return the guarded application.

    Args:
        store: the documents.
        worker: the model's process.
        token: this launch's secret, the first part of every address.
        hosts: values of the Host header that are this machine.
    """
    return Guard(routes(store, worker), token, hosts)


def routes(store: Store, worker: Worker) -> FastAPI:
    """Return the application without its guard."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        worker.close()

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    _Routes(store, worker).join(app)
    _explain(app)
    return app


def _explain(app: FastAPI) -> None:
    """Turn failures into messages that the page shows as text."""

    async def for_people(request: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"message": str(error)}, 422)

    async def dropped(request: Request, error: Exception) -> JSONResponse:
        reason = "superseded" if isinstance(error, SupersededError) else "cancelled"
        return JSONResponse({"message": reason}, 409)

    app.add_exception_handler(PentimentoError, for_people)
    app.add_exception_handler(SupersededError, dropped)
    app.add_exception_handler(CancelledError, dropped)


class _Routes:
    """What the page can ask; one method per address."""

    def __init__(self, store: Store, worker: Worker) -> None:
        self._store = store
        self._worker = worker
        self._locks: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._static = {p.name: p for p in (_HERE / "static").iterdir() if p.suffix in _TYPES}
        self._samples = {p.name: p for p in (_HERE / "samples").glob("*.jpg")}

    def join(self, app: FastAPI) -> None:
        """Name the addresses."""
        document = "/api/documents/{identity}"
        routes: list[tuple[str, str, Callable[..., Awaitable[Any]]]] = [
            ("GET", "/", self.page),
            ("GET", "/static/{name}", self.static),
            ("GET", "/samples/{name}", self.sample),
            ("GET", "/api/health", self.health),
            ("POST", "/api/cancel", self.cancel),
            ("GET", "/api/documents", self.documents),
            ("POST", "/api/documents", self.open),
            ("GET", document, self.document),
            ("DELETE", document, self.discard),
            ("POST", f"{document}/face", self.face),
            ("GET", f"{document}/frame", self.frame),
            ("POST", f"{document}/preview", self.preview),
            ("POST", f"{document}/steps", self.step),
            ("POST", f"{document}/position", self.move),
            ("POST", f"{document}/pictures", self.add_picture),
            ("GET", f"{document}/pictures/{{key}}", self.picture),
            ("GET", f"{document}/pictures/{{key}}/faces", self.picture_faces),
            ("POST", f"{document}/pictures/{{key}}/frame", self.picture_frame),
            ("POST", f"{document}/save", self.save),
        ]
        for method, path, answer in routes:
            app.add_api_route(path, answer, methods=[method], response_model=None)

    async def page(self) -> Response:
        return FileResponse(_HERE / "static" / "index.html", media_type="text/html")

    async def static(self, name: str) -> Response:
        if name not in self._static:
            return Response(status_code=404)
        file = self._static[name]
        return FileResponse(file, media_type=_TYPES[file.suffix])

    async def sample(self, name: str) -> Response:
        if name not in self._samples:
            return Response(status_code=404)
        return FileResponse(self._samples[name], media_type="image/jpeg")

    async def health(self) -> dict[str, Any]:
        return {"alive": True, **self._worker.status(), "samples": sorted(self._samples)}

    async def cancel(self) -> dict[str, Any]:
        self._worker.cancel()
        return {}

    async def documents(self) -> list[dict[str, Any]]:
        return await asyncio.to_thread(self._store.listed)

    async def open(self, request: Request, name: Name = "picture", sample: Name = "") -> Any:
        """Open an uploaded photo or project, or a sample."""
        if sample in self._samples:
            name, data = sample, self._samples[sample].read_bytes()
        else:
            data = await request.body()
        if data.startswith(b"PK\x03\x04"):
            return await self._open_project(data)
        identity, folder = self._store.begin()
        try:
            admitted = await self._admit(folder, name, data)
            self._store.create(identity, admitted["key"], _plain(name), Where())
        except BaseException:
            self._store.discard(identity)
            raise
        return await self._state(identity)

    async def _open_project(self, data: bytes) -> dict[str, Any]:
        identity, journal = await asyncio.to_thread(self._store.unpacked, data)
        try:
            for key, name in journal.pictures.items():
                await self._admit(journal.folder, name, await _read(journal.path(key)))
        except BaseException:
            self._store.discard(identity)
            raise
        return await self._state(identity)

    async def _admit(self, folder: Path, name: str, data: bytes) -> dict[str, Any]:
        if len(data) > LIMITS.file_bytes:
            raise PentimentoError(
                f"{_plain(name)} has {len(data) / 2**20:.0f} MB; the studio takes pictures up to "
                f"{LIMITS.file_bytes // 2**20} MB. Save it smaller, or use `pentimento edit`."
            )
        incoming = folder / "incoming"
        await asyncio.to_thread(incoming.write_bytes, data)
        try:
            payload = {"folder": str(folder), "file": str(incoming), "name": _plain(name)}
            return (await self._do("admit", payload)).facts
        finally:
            incoming.unlink(missing_ok=True)

    async def document(self, identity: str) -> dict[str, Any]:
        return await self._state(identity)

    async def discard(self, identity: str) -> dict[str, Any]:
        await asyncio.to_thread(self._store.discard, identity)
        return {}

    async def face(self, identity: str, pointed: Pointed) -> dict[str, Any]:
        """Say which face is meant: the edits start anew on it."""
        async with self._locks[identity]:
            journal = self._store.get(identity)
            document = Document(journal.current.photo, _where(pointed))
            await self._do("frame", self._payload(journal, document))  # is there a face?
            fresh = await asyncio.to_thread(journal.written, History.of(document, "Choose face"))
            self._store.put(identity, fresh)
        return await self._state(identity)

    async def frame(self, identity: str) -> Response:
        """The face's frame: geometry in a header, labels beneath the paint, then the layer."""
        journal = self._store.get(identity)
        answer = await self._do("frame", self._payload(journal, journal.current))
        return _bytes(answer)

    async def preview(self, identity: str, asked: Asked) -> Response:
        journal = self._store.get(identity)
        document, layer = self._drafted(journal, asked.draft)
        payload = {
            **self._payload(journal, document),
            "layer": layer,
            "fine": asked.fine,
        }
        return _bytes(await self._do("preview", payload, lane=identity))

    async def step(self, identity: str, edited: Edited) -> Any:
        """Add a step; it is on disk when this answers."""
        async with self._locks[identity]:
            journal = self._store.get(identity)
            if edited.base != journal.history.position:
                return JSONResponse({"message": "the document has changed in another tab"}, 409)
            document, layer = self._drafted(journal, edited.draft)
            if edited.draft.commands is not None:  # a donor may lack what is to be taken
                await self._do("frame", {**self._payload(journal, document), "layer": layer})
            journal = await asyncio.to_thread(_stepped, journal, edited.label, document, layer)
            self._store.put(identity, journal)
        return self._facts(journal)

    async def move(self, identity: str, moved: Moved) -> dict[str, Any]:
        async with self._locks[identity]:
            journal = self._store.get(identity)
            history = journal.history.at(moved.position)
            journal = self._store.put(identity, await asyncio.to_thread(journal.written, history))
        return self._facts(journal)

    async def add_picture(
        self, identity: str, request: Request, name: Name = "picture", sample: Name = ""
    ) -> dict[str, Any]:
        """Bring a second picture into the document."""
        if sample in self._samples:
            name, data = sample, self._samples[sample].read_bytes()
        else:
            data = await request.body()
        admitted = await self._admit(self._store.get(identity).folder, name, data)
        key, plain = admitted["key"], _plain(name)
        async with self._locks[identity]:
            journal = self._store.get(identity)
            if key not in journal.pictures:
                journal = await asyncio.to_thread(journal.with_picture, key, plain)
                self._store.put(identity, journal)
        return {**self._facts(journal), "added": key}

    async def picture(self, identity: str, key: str) -> Response:
        """A picture as it is shown: what the canvas draws are exactly these pixels."""
        journal = self._store.get(identity)
        if key not in journal.pictures:
            return Response(status_code=404)
        return FileResponse(shown_path(journal.folder, key), media_type="image/png")

    async def picture_faces(self, identity: str, key: str) -> Any:
        """The faces of a second picture, as quads in its pixels."""
        journal = self._store.get(identity)
        if key not in journal.pictures:
            return Response(status_code=404)
        payload = {**self._payload(journal, journal.current), "key": key}
        return (await self._do("faces", payload)).facts

    async def picture_frame(self, identity: str, key: str, pointed: Pointed) -> Response:
        """The frame of the face of a second picture that is pointed at."""
        journal = self._store.get(identity)
        if key not in journal.pictures:
            return Response(status_code=404)
        document = Document(key, _where(pointed))
        return _bytes(await self._do("frame", self._payload(journal, document)))

    async def save(self, identity: str, wanted: Wanted) -> Response:
        """The full-size picture, its mask, or the project, to be downloaded."""
        journal = self._store.get(identity)
        stem = Path(journal.name).stem or "picture"
        if wanted.what == "project":
            data = await asyncio.to_thread(journal.pack)
            return _download(f"{stem}.pentimento", data)
        payload = {
            **self._payload(journal, journal.current),
            "what": wanted.what,
            "recipe": wanted.recipe,
        }
        answer = await self._do("render", payload)
        ending = "mask" if wanted.what == "mask" else "edited"
        return _download(f"{stem}-{ending}{answer.facts['suffix']}", answer.data)

    async def _state(self, identity: str) -> dict[str, Any]:
        """Return everything that the page needs to show a document."""
        journal = self._store.get(identity)
        photo = journal.current.photo
        for key, name in journal.pictures.items():
            if not shown_path(journal.folder, key).exists():
                await self._admit(journal.folder, name, await _read(journal.path(key)))
        payload = self._payload(journal, journal.current)
        faces = (await self._do("faces", {**payload, "key": photo})).facts["faces"]
        return {"id": identity, **self._facts(journal), "faces": faces, **_VOCABULARY}

    def _facts(self, journal: Journal) -> dict[str, Any]:
        document = journal.current
        return {
            "name": journal.name,
            "photo": document.photo,
            "where": vars(document.where),
            "pictures": journal.pictures,
            "commands": [command_json(c) for c in document.commands if c.verb != "paint"],
            "position": journal.history.position,
            "steps": [step.label for step in journal.history.steps],
        }

    def _drafted(self, journal: Journal, draft: Draft) -> tuple[Document, LabelMap | None]:
        """Return the document that a draft describes, and its layer if it brings one."""
        document = journal.current
        laid = tuple(c for c in document.commands if isinstance(c, Paint))
        others: tuple[Command, ...] = tuple(
            c for c in document.commands if not isinstance(c, Paint)
        )
        if draft.commands is not None:
            others = tuple(parse_command(item) for item in draft.commands)
        layer = None
        if draft.layer is not None:
            layer = layer_from(_inflated(draft.layer))
            laid = () if layer is None else (Paint(_DRAFT),)
        document = replace(document, commands=(*others, *laid))
        if not set(document.pictures()) <= set(journal.pictures) or any(
            command.verb in ("paint", "reshape") for command in others
        ):
            raise PentimentoError("the page names a picture that this document does not hold")
        return document, layer

    def _payload(self, journal: Journal, document: Document) -> dict[str, Any]:
        return {
            "folder": str(journal.folder),
            "document": document.to_json(),
            "names": journal.pictures,
        }

    async def _do(self, kind: str, payload: dict[str, Any], lane: str | None = None) -> Answer:
        return await asyncio.wrap_future(self._worker.submit(kind, payload, lane))


def _where(pointed: Pointed) -> Where:
    return Where(pointed.index, box=pointed.box, aligned=pointed.aligned)


_VOCABULARY: Final = {
    "classes": CELEBAMASK19.classes,
    "regions": {name: CELEBAMASK19.values(*classes) for name, classes in REGIONS.items()},
    "mirrored": MIRRORED,
    "unpainted": IGNORE,
}


def _stepped(journal: Journal, label: str, document: Document, layer: LabelMap | None) -> Journal:
    """Write a step and what it needs; return the journal as it is on disk."""
    if layer is not None:
        key = keep_layer(journal.folder, layer)
        laid = [Paint(key) if c == Paint(_DRAFT) else c for c in document.commands]
        document = replace(document, commands=tuple(laid))
    journal = journal.written(journal.history.then(label, document))
    journal.sweep()
    return journal


def _inflated(text: str) -> bytes:
    """Return the bytes of a layer, never more than the largest one has.

    Raises:
        PentimentoError: it is damaged or too large.
    """
    try:
        unpacker = zlib.decompressobj()
        data = unpacker.decompress(base64.b64decode(text, validate=True), _LARGEST_LAYER)
    except (binascii.Error, zlib.error) as error:
        raise PentimentoError("the painted layer came damaged; paint again") from error
    if unpacker.unconsumed_tail:
        raise PentimentoError("the painted layer is larger than any face's frame")
    return data


def _bytes(answer: Answer) -> Response:
    """Return an answer as raw bytes with its facts in a header."""
    facts = json.dumps(answer.facts)
    return Response(answer.data, 200, {"x-facts": facts}, "application/octet-stream")


def _download(name: str, data: bytes) -> Response:
    disposition = f"attachment; filename*=UTF-8''{quote(name, safe='')}"
    return Response(data, 200, {"content-disposition": disposition}, "application/octet-stream")


def _plain(name: str) -> str:
    """Return the last part of a file name without anything that is not shown."""
    shown = "".join(c for c in name.replace("\\", "/").split("/")[-1] if c.isprintable())
    return shown[:120] or "picture"


async def _read(path: Path) -> bytes:
    return await asyncio.to_thread(path.read_bytes)
