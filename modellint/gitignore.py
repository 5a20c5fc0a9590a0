"""Gitignore patterns, matched by pathspec and asked the way git asks: one entry of a folder at a time, from the top.

`GitIgnoreSpec` knows files, seen as whole paths. Of a folder we want to know more: whether a walk may leave it out.
For that the last pattern decides, as in git: `build/` matches the folder, `build/**` only what is in it, and after
`*`, `!*/` (nothing but some files) every folder is walked.
"""

from __future__ import annotations

from collections.abc import Iterable


class IgnoreList:
    """The patterns of one `.gitignore`, exclude file or setting."""

    def __init__(self, lines: Iterable[str]) -> None:
        from pathspec import GitIgnoreSpec, PathSpec  # late: one named file is checked without any patterns

        self._lines = [line for line in (line.rstrip("\r\n") for line in lines) if line and _is_pattern(line)]
        self._files = GitIgnoreSpec.from_lines(self._lines)
        self._folders = PathSpec(self._files.patterns)

    def decides(self, path: str, *, is_folder: bool) -> bool | None:
        """True: ignored, False: taken back by a `!` pattern, None: no pattern says anything.

        `path` is relative to the folder of the patterns, with forward slashes. No folder above it is ignored: whoever
        walks does not go into one that is.
        """
        if not is_folder:
            return self._files.check_file(path).include
        by_name = self._folders.check_file(path)
        as_folder = self._folders.check_file(path + "/")
        if (
            as_folder.index is not None
            and (by_name.index is None or as_folder.index > by_name.index)
            and self._lines[as_folder.index].rstrip().endswith("/")
        ):
            return as_folder.include
        return by_name.include

    def covers(self, path: str, *, is_folder: bool = False) -> bool:
        """Whether an entry or a folder above it is ignored."""
        parts = path.split("/")
        above = ("/".join(parts[:count]) for count in range(1, len(parts)))
        return any(self.decides(folder, is_folder=True) for folder in above) or bool(
            self.decides(path, is_folder=is_folder)
        )


def _is_pattern(line: str) -> bool:
    """git passes over a line that is no pattern, such as a lone `!`; pathspec refuses the whole list for it."""
    from pathspec import GitIgnoreSpec

    try:
        GitIgnoreSpec.from_lines([line])
    except ValueError:
        return False
    return True
