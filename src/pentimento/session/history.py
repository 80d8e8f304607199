"""The history of a document: every state it has been in, and which of them is shown."""

import json
from dataclasses import dataclass, replace
from typing import Final

from pentimento.errors import PentimentoError
from pentimento.session.document import Document

LIMIT: Final = 256
"""Most steps that are kept; the oldest go first."""


@dataclass(frozen=True)
class Step:
    """One state of a document.

    Attributes:
        label: what led to it, in a person's words.
        document: the state.
    """

    label: str
    document: Document


@dataclass(frozen=True)
class History:
    """States in the order they were made; immutable.

    Attributes:
        steps: at least one; the first is the unedited document, as long as it is kept.
        position: index of the state that is shown.
    """

    steps: tuple[Step, ...]
    position: int = 0

    def __post_init__(self) -> None:
        """Refuse a position beyond the steps."""
        if not 0 <= self.position < len(self.steps):
            raise PentimentoError(
                f"the history has the steps 0 to {len(self.steps) - 1}; got {self.position}"
            )

    @staticmethod
    def of(document: Document, label: str = "Open") -> "History":
        """Return the history of a document that was just opened."""
        return History((Step(label, document),))

    @property
    def current(self) -> Document:
        """The state that is shown."""
        return self.steps[self.position].document

    def then(self, label: str, document: Document) -> "History":
        """Return the history with a new state after the shown one; what was undone is dropped."""
        steps = (*self.steps[: self.position + 1], Step(label, document))[-LIMIT:]
        return History(steps, len(steps) - 1)

    def at(self, position: int) -> "History":
        """Return the history showing another of its states.

        Raises:
            PentimentoError: there is no such state.
        """
        return replace(self, position=position)

    def to_json(self) -> str:
        """Return the history as JSON text."""
        steps = [
            {"label": s.label, "document": json.loads(s.document.to_json())} for s in self.steps
        ]
        return json.dumps({"position": self.position, "steps": steps}, indent=1)

    @staticmethod
    def from_json(text: str) -> "History":
        """Read what `to_json` wrote.

        Raises:
            PentimentoError: the text is no such history.
        """
        try:
            read = json.loads(text)
            steps = tuple(
                Step(str(s["label"]), Document.from_json(json.dumps(s["document"])))
                for s in read["steps"]
            )
            return History(steps, int(read["position"]))
        except (KeyError, TypeError, ValueError) as error:
            raise PentimentoError(f"this is no history of a document: {error!r}") from error
