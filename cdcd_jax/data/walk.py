"""The files below a folder: each once, whatever leads to it, and what is passed over.

A file is one example. Where links lead to it too, it has the name of its own place
below the folder; without such a place, the first of its names in sorted order. Hard
links are names of one file in the same way. Links to folders are followed, but none to
a folder that is read already or that lies above. Hidden files and folders, and what
operating systems leave behind, are no data. All else that is passed over is counted by
its kind.
"""

import bisect
import heapq
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from cdcd_jax.data.names import RealPaths, same_name, shown
from cdcd_jax.errors import InputError

# in lower case; left by macOS, Windows, Linux, and disks of Synology, QNAP and NetApp
_LITTER = {
    *("__macosx", "network trash folder", "temporary items", "icon\r"),
    *("thumbs.db", "desktop.ini", "$recycle.bin", "recycler", "lost+found"),
    *("system volume information", "@eadir", "#recycle", "#snapshot", "~snapshot"),
    *("@recycle", "@recently-snapshot"),
}


@dataclass(frozen=True)
class Listing:
    """What lies below a folder. Names are relative to it, with "/"."""

    root: Path
    files: list[str]  # sorted, each file once
    folders: list[str]  # sorted, the empty ones too
    # (other way, file or folder): two names, neither of which is the place itself
    torn: list[tuple[str, str]]
    left: dict[str, str]  # name of what is passed over -> its kind
    by_place: dict[str, str]  # real path -> file

    def find(self, name: str) -> str | None:
        """The file that a name leads to: by links, or in another Unicode form."""
        place = os.path.realpath(self.root / name)
        return self.by_place.get(place) or self._by_form.get(same_name(name))

    @cached_property
    def _by_form(self) -> dict[str, str]:
        return {same_name(file): file for file in self.files}

    def told(self, folder: str) -> str:
        """What else a folder holds: "" or " (left out: .heic (20))"."""
        start = f"{folder}/" if folder else ""
        kinds = [kind for name, kind in self.left.items() if name.startswith(start)]
        return f" (left out: {told(counted(kinds))})" if kinds else ""

    def refuse_torn(self, place: Callable[[str], Any]) -> None:
        """Raises InputError for a file that links put into two places, by `place`."""
        ways = self._other_ways()
        torn = [(way, file) for way, file in ways if place(way) != place(file)]
        if torn:
            pairs = ", ".join(f"{file} and {way}" for way, file in torn[:3])
            raise InputError(
                f"Found {len(torn)} files below {self.root} that links give two names, "
                f"of two classes or splits: {pairs}{', ...' * (len(torn) > 3)}; "
                "expected each file once; remove one of its names."
            )

    def _other_ways(self) -> Iterator[tuple[str, str]]:
        """Pairs (other way, file), for files without a place of their own."""
        for way, kept in self.torn:
            start = bisect.bisect_left(self.files, kept)
            if self.files[start : start + 1] == [kept]:
                yield way, kept
                continue
            start = bisect.bisect_left(self.files, f"{kept}/")
            for file in self.files[start:]:
                if not file.startswith(f"{kept}/"):
                    break
                yield way + file.removeprefix(kept), file


def counted(kinds: Iterable[str]) -> dict[str, int]:
    """Kind -> number, the most frequent first."""
    return dict(sorted(Counter(kinds).items(), key=lambda pair: (-pair[1], pair[0])))


def told(counts: dict[str, int], most: int = 12) -> str:
    """The counts in words, such as '.m4a (12), dangling links (1)'."""
    words = [f"{kind} ({number})" for kind, number in counts.items()]
    rest = sum(list(counts.values())[most:])
    more = [f"{len(words) - most} other kinds ({rest})"] if rest else []
    return ", ".join(words[:most] + more)


def list_files(root: Path, suffixes: Collection[str]) -> Listing:
    """All files below `root` whose suffix is among `suffixes` (".png"), in any case.

    Raises:
        InputError: a folder that cannot be listed, or a name that is not UTF-8.
    """
    walk = _Walk(root, suffixes)
    walk.run()
    files = sorted(walk.found.values())
    odd = [name for name in files if shown(name) != name]
    if odd:
        names = ", ".join(map(shown, odd[:3])) + ", ..." * (len(odd) > 3)
        raise InputError(
            f"Found {len(odd)} of {len(files)} file names below {shown(str(root))} "
            f"that are not UTF-8: {names}; expected names that records can keep; "
            "rename them, with `convmv -r -f latin1 -t utf8 --notest FOLDER` for one."
        )
    torn = [(way, walk.renamed.get(kept, kept)) for way, kept in walk.torn]
    folders = sorted(walk.folders)
    return Listing(root, files, folders, torn, walk.left, walk.places)


class _Walk:
    """One pass over plain files and folders, then one along links to folders."""

    def __init__(self, root: Path, suffixes: Collection[str]) -> None:
        self._root, self._suffixes = str(root), suffixes
        self._top = os.path.realpath(root)
        self.found: dict[str, str] = {}  # real path -> name that is kept
        self.places: dict[str, str] = {}  # the same, and of names that are not kept
        self.folders: list[str] = []
        self.torn: list[tuple[str, str]] = []
        self.left: dict[str, str] = {}
        self.renamed: dict[str, str] = {}  # hard link that is not kept -> the one kept
        self._folders: dict[str, str] = {}  # real path -> name
        self._folder_links: list[str] = []  # a heap
        self._file_links: list[str] = []
        self._inodes: dict[int, list[str]] = defaultdict(list)  # -> real paths

    def run(self) -> None:
        self._read("", self._top)
        while self._folder_links:
            name = heapq.heappop(self._folder_links)
            self._follow(name, os.path.realpath(self._path(name)))
        real = RealPaths()
        for name in sorted(self._file_links):
            self._add_link(name, real.find(self._path(name)))
        self._join_hard_links()
        self.places |= self.found

    def _path(self, name: str) -> str:
        return os.path.join(self._root, name) if name else self._root

    def _is_own(self, name: str, real: str) -> bool:
        """Whether no link lies on the way."""
        return real == (os.path.join(self._top, name) if name else self._top)

    def _read(self, name: str, real: str) -> None:
        """Everything in and below a folder, except behind links."""
        todo = [(name, real)]
        while todo:
            name, real = todo.pop()
            self._folders[real] = name
            if name:
                self.folders.append(name)
            for entry in self._entries(name):
                inside = f"{name}/{entry.name}" if name else entry.name
                place = os.path.join(real, entry.name)
                if entry.name.lower() in _LITTER or self._is_hidden(entry, inside):
                    continue
                if entry.is_symlink():
                    self._sort_link(entry, inside)
                elif entry.is_dir():
                    if place in self._folders:  # a link came here first
                        self._note_again(inside, self._folders[place], place)
                    else:
                        todo.append((inside, place))
                elif not entry.is_file():
                    self.left[inside] = "no regular files"
                elif self._has_suffix(inside):
                    self.found[place] = inside
                    self._inodes[entry.inode()].append(place)

    def _entries(self, name: str) -> list[os.DirEntry]:
        try:
            with os.scandir(self._path(name)) as entries:
                return list(entries)
        except OSError as error:
            raise InputError(
                f"Found the folder {shown(self._path(name))}, which cannot be read "
                f"({error.strerror}); expected one whose files can be listed; make it "
                "readable, or move it elsewhere."
            ) from error

    def _is_hidden(self, entry: os.DirEntry, name: str) -> bool:
        if not entry.name.startswith("."):
            return False
        suffix = os.path.splitext(entry.name)[1].lower()
        # ._0.png is what macOS says of 0.png
        if suffix in self._suffixes and not entry.name.startswith("._"):
            self.left[name] = "hidden files"
        return True

    def _has_suffix(self, name: str) -> bool:
        """Whether the file is read; notes it otherwise."""
        suffix = os.path.splitext(name)[1].lower()
        if suffix in self._suffixes:
            return True
        self.left[name] = shown(suffix) or "without a suffix"
        return False

    def _sort_link(self, entry: os.DirEntry, name: str) -> None:
        try:
            is_folder, is_file = entry.is_dir(), entry.is_file()
        except OSError:  # a link that leads to itself
            is_folder = is_file = False
        if is_folder:
            heapq.heappush(self._folder_links, name)
        elif not is_file:
            self.left[name] = "dangling links"
        elif self._has_suffix(name):
            self._file_links.append(name)

    def _follow(self, name: str, real: str) -> None:
        """Reads the folder behind a link, unless it is read or lies above."""
        above = os.path.realpath(os.path.dirname(self._path(name)))
        if real in self._folders:
            self._note_again(name, self._folders[real], real)
        elif any(_is_within(place, real) for place in (above, self._top)):
            self.left[name] = "links to folders above"
        else:
            self._read(name, real)

    def _note_again(self, name: str, kept: str, real: str) -> None:
        self.left[name] = "links to folders that are read already"
        if not self._is_own(kept, real):
            self.torn.append((name, kept))

    def _add_link(self, name: str, real: str) -> None:
        kept = self.found.setdefault(real, name)
        if kept == name:
            self._inodes[os.stat(real).st_ino].append(real)
        else:
            self.left[name] = "links to files that are read already"
            if not self._is_own(kept, real):
                self.torn.append((name, kept))

    def _join_hard_links(self) -> None:
        for places in self._inodes.values():
            if len(places) == 1:
                continue
            same = defaultdict(list)
            for place in places:
                # numbers of inodes are told apart by device, and vague on some disks
                status = os.stat(place)
                if status.st_nlink > 1:
                    same[status.st_dev, status.st_ino].append(place)
            for names in same.values():
                self._keep_one(names)

    def _keep_one(self, places: list[str]) -> None:
        """Of names of one file, the first one, and before those by links."""
        key = lambda place: (not self._is_own(self.found[place], place), place)
        first, *rest = sorted(places, key=key)
        kept = self.found[first]
        for place in rest:
            name = self.found.pop(place)
            self.places[place] = self.renamed[name] = kept
            self.left[name] = "hard links to files that are read already"
            if self._is_own(name, place) or not self._is_own(kept, first):
                self.torn.append((name, kept))


def _is_within(place: str, folder: str) -> bool:
    """Whether a real path is the folder, or lies below it."""
    return place == folder or place.startswith(folder.rstrip(os.sep) + os.sep)
