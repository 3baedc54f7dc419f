"""Names from submissions as file names, anchors and links: what is not plainly safe never becomes one."""

from __future__ import annotations

import hashlib
import re
from urllib.parse import urlsplit

from tokbench.runfolder import folder_name

_SAFE = re.compile(r"[a-z0-9][a-z0-9_.-]*", re.ASCII)
_MAX_STEM = 80
# Device names that Windows keeps for itself, whatever the ending.
_RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))}


def page_stem(tokenizer: str) -> str:
    """The file stem of a tokenizer's page: ``family__variant``, the same for the same name everywhere.

    A name that cannot be a file name as it is, or that another name could share (``a__b`` and ``a/b``), gets a few
    digits of its digest.
    """
    stem = folder_name(tokenizer)
    is_plain = (
        _SAFE.fullmatch(stem) is not None
        and len(stem) <= _MAX_STEM
        and tokenizer.count("__") == 0
        and not stem.endswith(".")
        and stem.partition(".")[0] not in _RESERVED
    )
    if is_plain:
        return stem
    kept = re.sub(r"[^a-z0-9_-]+", "-", stem.lower())[:_MAX_STEM].strip("-_") or "tokenizer"
    return f"{kept}-{hashlib.sha256(tokenizer.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"


def safe_link(text: str) -> str:
    """The text if it is an http or https address that a browser takes for nothing else; "" otherwise.

    Names in the address (``user@host``) are refused: they make one host look like another.
    """
    if not text.isascii() or len(text) > 500 or re.search(r"[\x00-\x20\x7f\"'<>\\^`{|}]", text):
        return ""
    try:
        parts = urlsplit(text)
        host = parts.hostname
    except ValueError:
        return ""
    return text if parts.scheme in ("http", "https") and host and "@" not in parts.netloc else ""
