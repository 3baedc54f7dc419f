"""Where a publisher's files lie: in a repository on the hub, or in a folder on this machine."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokbench.errors import UsageError, WeightsError
from tokbench.weights.hub import HubFile, NoSuchFileError, find_hub_file
from tokbench.weights.places import offline_switch, own_folder
from tokbench_adapters._reading.hub_weights import fetch_hub_weights, with_digest

if TYPE_CHECKING:
    from tokbench.cards import TokenizerCard


@dataclass(frozen=True, kw_only=True)
class Place:
    """A repository or a folder, and where in it.

    Attributes:
        card: ``hub`` is ``ORG/REPO@REVISION`` or ``ORG/REPO``; ``weights`` pins digests by path in the repository.
        folder: a folder of the user's, which is read instead of the hub.
        subfolder: where in the repository or folder the files lie.
    """

    card: TokenizerCard
    folder: Path | None = None
    subfolder: str = ""
    _found: dict[str, Path] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __str__(self) -> str:
        where = self.card.hub.partition("@")[0] if self.folder is None else str(self.folder)
        return f"{where}/{self.subfolder}" if self.subfolder else where

    def path(self, name: str) -> Path:
        """The file, downloaded and checked if it is on the hub, which is asked once.

        Raises:
            NoSuchFileError: there is none of that name.
            WeightsError: it cannot be had, or is not the pinned one.
        """
        if name not in self._found:
            self._found[name] = self._find(name)
        return self._found[name]

    def _find(self, name: str) -> Path:
        if self.folder is None:
            fetched: Path = fetch_hub_weights(self.card, self._inside(name))
            return fetched
        path = self.folder / self._inside(name)
        if not path.is_file():
            raise NoSuchFileError(f"{self} has no file {name}")
        return path

    def first_there(self, names: tuple[str, ...]) -> str:
        """The first of the files that there is; copies in ``$TOKBENCH_WEIGHTS`` go first, and there may be no network.

        Raises:
            NoSuchFileError: there is none of them.
            WeightsError: the hub cannot be asked.
        """
        if self.folder is not None or offline_switch():
            found = next((name for name in names if self._is_here(name)), names[0])
            self.path(found)
            return found
        for name in sorted(names, key=self._is_own, reverse=True):
            try:
                self.path(name)
            except NoSuchFileError:
                continue
            return name
        raise NoSuchFileError(f"{self} on the hub has none of {', '.join(names)}")

    def read_json(self, name: str) -> dict[str, Any]:
        """A file that holds a JSON object.

        Raises:
            WeightsError: it cannot be had, or holds something else.
        """
        path = self.path(name)
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as err:
            raise WeightsError(f"{path} is no JSON: {err}") from err
        if not isinstance(found, dict):
            raise WeightsError(f"{path} holds a {type(found).__name__}, expected an object")
        return found

    def read_index(self, name: str) -> dict[str, str]:
        """Tensor → the file beside the index that holds it.

        Raises:
            WeightsError: it cannot be had, names nothing, or something but files beside it.
        """
        names = self.read_json(name).get("weight_map")
        if not isinstance(names, dict) or not names:
            raise WeightsError(f"{name} of {self} has no weight_map")
        if bad := [file for file in names.values() if not isinstance(file, str) or not file or {"/", "\\"} & set(file)]:
            raise WeightsError(f"{name} of {self} names {bad[0]!r}, expected files beside it")
        return names

    def with_digests(self, names: Iterable[str]) -> TokenizerCard:
        """The card, with the digests of files that were read."""
        card = self.card
        for name in names:
            card = with_digest(card, self._inside(name), self.path(name))
        return card

    def _inside(self, name: str) -> str:
        return f"{self.subfolder}/{name}" if self.subfolder else name

    def _is_own(self, name: str) -> bool:
        """Whether there is a copy in the user's folder of weights."""
        own = own_folder()
        return own is not None and (own / self.card.hub.partition("@")[0] / self._inside(name)).is_file()

    def _is_here(self, name: str) -> bool:
        if self.folder is not None:
            return (self.folder / self._inside(name)).is_file()
        repo, _, revision = self.card.hub.partition("@")
        return find_hub_file(HubFile(repo=repo, path=self._inside(name), revision=revision or "main")) is not None


_REPOSITORY = re.compile(r"(?P<repo>[A-Za-z0-9][\w.-]*/[\w.-]+)(?:/(?P<subfolder>[\w./-]+?))?/?(?:@(?P<revision>.+))?")


@dataclass(frozen=True, kw_only=True)
class Target:
    """What an opened name points at: a repository on the hub, or a folder of the user's."""

    repo: str = ""
    revision: str = ""
    subfolder: str = ""
    folder: Path | None = None

    @classmethod
    def parse(cls, text: str, *, usage: str) -> Target:
        """``ORG/REPO[/SUBFOLDER][@REVISION]``; a folder begins with ``.``, ``~`` or ``/``.

        Raises:
            UsageError: neither; the message says how the name is used.
        """
        if text.startswith((".", "~", "/")):
            folder = Path(os.path.expanduser(text))  # noqa: PTH111 - leaves a ~ that means nobody, where Path raises
            if not folder.is_dir():
                raise UsageError(f"there is no folder {folder}; a repository on the hub is typed ORG/REPO")
            return cls(folder=folder)
        found = _REPOSITORY.fullmatch(text)
        if found is None:
            raise UsageError(f"{text!r} is neither a repository (ORG/REPO) nor a folder (./FOLDER); usage: {usage}")
        said = {key: value or "" for key, value in found.groupdict().items()}
        return cls(repo=said["repo"], subfolder=said["subfolder"], revision=said["revision"])

    @property
    def variant(self) -> str:
        """The end of a card's name."""
        words = f"{self.repo or (self.folder or Path()).resolve().name} {self.subfolder}".strip().lower()
        return re.sub(r"[^a-z0-9_.-]+", ".", words).strip("_.-") or "folder"

    @property
    def hub(self) -> str:
        return f"{self.repo}@{self.revision}" if self.revision else self.repo
