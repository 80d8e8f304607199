"""Pentimento: see a picture, change a region, repaint it.

import pentimento as pt

pt.edit("photo.jpg").swap("hair", "other.jpg").render().save("out.png")
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pentimento.session.api import Edit, edit, load, open, parse, see
    from pentimento.session.editor import Result
    from pentimento.session.faces import Where
    from pentimento.structures import LabelMap, Picture

__version__ = "0.1.0"
__all__ = ["Edit", "LabelMap", "Picture", "Result", "Where", "edit", "load", "open", "parse", "see"]

_HOMES: Final = {
    **dict.fromkeys(("Edit", "edit", "load", "open", "parse", "see"), "pentimento.session.api"),
    "Result": "pentimento.session.editor",
    "Where": "pentimento.session.faces",
    **dict.fromkeys(("LabelMap", "Picture"), "pentimento.structures"),
}


def __getattr__(name: str) -> Any:
    """Import a public name on first use, so that `import pentimento` stays instant."""
    if name not in _HOMES:
        raise AttributeError(f"module 'pentimento' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
