"""Archives: equal bytes for equal submissions, and nothing that a stranger's archive could do."""

from __future__ import annotations

import io
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.submissions.forge import packed
from tokbench.submissions.archive import MAX_ENTRIES, name_problem, unpacked, write_archive
from tokbench.submissions.findings import Findings
from tokbench.submissions.known import Known
from tokbench.submissions.validate import validate

ZIPS: dict[str, tuple[Callable[[zipfile.ZipFile], object], str, str]] = {}
TARS: dict[str, tuple[Callable[[tarfile.TarFile], object], str, str]] = {}


def files_of(honest: Path, *, without: str = "") -> dict[str, bytes]:
    """Content by name; one may be left out, for a forger to put another in its place."""
    files = {path.relative_to(honest).as_posix(): path for path in sorted(honest.rglob("*")) if path.is_file()}
    return {name: path.read_bytes() for name, path in files.items() if name != without}


def entry(name: str, mode: int = stat.S_IFREG | 0o644) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, mode << 16
    return info


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize("suffix", [".zip", ".tar"])
def test_a_packed_archive_is_valid_and_deterministic(run: Path, shelf: Known, tmp_path: Path, suffix: str) -> None:
    first = packed(run, tmp_path / f"one{suffix}", shelf=shelf, n_pictures=1)
    second = packed(run, tmp_path / f"two{suffix}", shelf=shelf, n_pictures=1)
    assert first.read_bytes() == second.read_bytes()
    (verdict,) = validate([first], known=shelf)
    assert verdict.errors == ()
    assert sorted(tmp_path.iterdir()) == [first, second]  # nothing is left beside them


@pytest.mark.parametrize("suffix", [".zip", ".tar"])
def test_unpacking_gives_the_very_files_and_leaves_nothing(honest: Path, tmp_path: Path, suffix: str) -> None:
    archive = tmp_path / f"s{suffix}"
    write_archive(honest, archive)
    findings = Findings()
    with unpacked(archive, findings) as folder:
        assert folder is not None
        assert files_of(folder) == files_of(honest)
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert findings.items == []
    assert not folder.exists()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("../result.json", "path traversal"),
        ("pictures/../../result.json", "path traversal"),
        ("/etc/passwd", "absolute path"),
        ("C:/result.json", "absolute path"),
        ("..\\result.json", "backslash"),
        ("result.json\0.txt", "cannot be printed"),
        ("result.json\n", "cannot be printed"),
        ("sub/result.json", "not a file of a submission"),
        ("pictures/../result.json", "path traversal"),
        ("Result.json", "not a file of a submission"),
        ("", "not a file of a submission"),
    ],
)
def test_names_that_an_entry_may_not_have(name: str, words: str) -> None:
    assert words in name_problem(name)
    assert name_problem("pictures/0123456789abcdef.png") == ""


def zipped(code: str, words: str) -> Callable[[Callable[[zipfile.ZipFile], object]], None]:
    def add(function: Callable[[zipfile.ZipFile], object]) -> None:
        ZIPS[function.__name__] = (function, code, words)

    return add


def tarred(code: str, words: str) -> Callable[[Callable[[tarfile.TarFile], object]], None]:
    def add(function: Callable[[tarfile.TarFile], object]) -> None:
        TARS[function.__name__] = (function, code, words)

    return add


@zipped("archive-name", "path traversal")
def traversal(archive: zipfile.ZipFile) -> None:
    archive.writestr("../../evil.txt", b"x")


@zipped("archive-name", "absolute path")
def absolute(archive: zipfile.ZipFile) -> None:
    archive.writestr("/absolute/evil.txt", b"x")


@zipped("archive-name", "backslash")
def windows_path(archive: zipfile.ZipFile) -> None:
    archive.writestr("..\\evil.txt", b"x")


@zipped("archive-link", "link or device")
def symbolic_link(archive: zipfile.ZipFile) -> None:
    archive.writestr(entry("influences.npz", stat.S_IFLNK | 0o777), b"/etc/passwd")


@zipped("archive-duplicate", "two entries of the name")
def duplicate(archive: zipfile.ZipFile) -> None:
    with pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("result.json", b"{}")


@zipped("archive-bomb", "zip bomb")
def bomb(archive: zipfile.ZipFile) -> None:
    archive.writestr("influences.npz", bytes(32 << 20), zipfile.ZIP_DEFLATED)


@zipped("archive-size", "too large")
def large(archive: zipfile.ZipFile) -> None:
    archive.writestr("pictures/0123456789abcdef.png", bytes(3 << 20), zipfile.ZIP_DEFLATED)


@zipped("archive-method", "not stored or deflated")
def other_compression(archive: zipfile.ZipFile) -> None:
    archive.writestr("influences.npz", b"x" * 100, zipfile.ZIP_BZIP2)


@zipped("archive-entries", "too many entries")
def many(archive: zipfile.ZipFile) -> None:
    for number in range(MAX_ENTRIES):
        archive.writestr(f"pictures/{number:016x}.png", b"")


@tarred("archive-name", "path traversal")
def tar_traversal(archive: tarfile.TarFile) -> None:
    archive.addfile(member("../evil.txt"))


@tarred("archive-link", "link, folder or device")
def tar_symbolic_link(archive: tarfile.TarFile) -> None:
    archive.addfile(member("influences.npz", tarfile.SYMTYPE, "/etc/passwd"))


@tarred("archive-link", "link, folder or device")
def tar_hard_link(archive: tarfile.TarFile) -> None:
    archive.addfile(member("influences.npz", tarfile.LNKTYPE, "result.json"))


@tarred("archive-link", "link, folder or device")
def tar_device(archive: tarfile.TarFile) -> None:
    archive.addfile(member("influences.npz", tarfile.CHRTYPE))


@tarred("archive-duplicate", "two entries of the name")
def tar_duplicate(archive: tarfile.TarFile) -> None:
    archive.addfile(member("result.json"))


@tarred("archive-entries", "too many entries")
def tar_many(archive: tarfile.TarFile) -> None:
    for number in range(MAX_ENTRIES):
        archive.addfile(member(f"pictures/{number:016x}.png"))


def rejected(path: Path, shelf: Known, code: str, words: str) -> None:
    (verdict,) = validate([path], known=shelf)
    assert any(item.code == code and words in str(item) for item in verdict.errors), verdict.errors
    assert verdict.n_records == 0  # nothing of it was opened


@pytest.mark.parametrize("name", ZIPS)
def test_zips_that_are_not_opened(name: str, honest: Path, shelf: Known, tmp_path: Path) -> None:
    change, code, words = ZIPS[name]
    path = tmp_path / "s.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file, content in files_of(honest, without="influences.npz").items():
            archive.writestr(entry(file), content)
        change(archive)
    rejected(path, shelf, code, words)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", TARS)
def test_tars_that_are_not_opened(name: str, honest: Path, shelf: Known, tmp_path: Path) -> None:
    change, code, words = TARS[name]
    path = tmp_path / "s.tar"
    with tarfile.open(path, "w") as archive:
        for file, content in files_of(honest, without="influences.npz").items():
            info = member(file)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        change(archive)
    rejected(path, shelf, code, words)


def test_encrypted_entries_are_refused(honest: Path, shelf: Known, tmp_path: Path) -> None:
    path = tmp_path / "s.zip"
    write_archive(honest, path)
    content = bytearray(path.read_bytes())
    content[content.rindex(b"PK\1\2") + 8] |= 1  # the flags of the last entry, in the central directory
    path.write_bytes(content)
    rejected(path, shelf, "archive-encrypted", "is encrypted")


def test_names_that_differ_in_case_alone_are_refused() -> None:
    from tokbench.submissions.archive import _Names

    findings = Findings()
    names = _Names(findings)
    assert names.check("result.json", 1)
    assert not names.check("RESULT.json", 1)
    assert [item.code for item in findings.errors] == ["archive-name"]


@pytest.mark.parametrize("suffix", [".zip", ".tar"])
@pytest.mark.parametrize("keep", [0, 10, 700, -40, -9000])
def test_truncated_archives_are_damaged(honest: Path, shelf: Known, tmp_path: Path, suffix: str, keep: int) -> None:
    path = tmp_path / f"s{suffix}"
    write_archive(honest, path)
    content = path.read_bytes()
    # The last blocks of a tar are empty; what counts is cut off with them.
    path.write_bytes(content.rstrip(b"\0")[:keep] if keep else b"")
    (verdict,) = validate([path], known=shelf)
    assert not verdict.is_valid


def test_an_entry_that_lies_about_its_size_ends_there(honest: Path, shelf: Known, tmp_path: Path) -> None:
    path = tmp_path / "s.zip"
    write_archive(honest, path)
    content = bytearray(path.read_bytes())
    at = content.rindex(b"PK\1\2")  # the central header of the last entry: its two sizes
    content[at + 20 : at + 28] = (5).to_bytes(4, "little") * 2
    path.write_bytes(content)
    (verdict,) = validate([path], known=shelf)
    assert any(item.code == "archive-damaged" for item in verdict.errors)
