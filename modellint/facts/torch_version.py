"""Which versions of torch a project runs with, as far as it says so."""

from __future__ import annotations

from modellint.facts.record import record

Version = tuple[int, int]
"""Major and minor number."""


@record
class TorchVersions:
    """The versions that a project's own files allow, both ends where they are given."""

    at_least: Version | None
    """The oldest version allowed."""
    below: Version | None
    """The first version that is too new."""
    source: str
    """Where it says so: `requirements.txt`."""

    def all_below(self, version: Version) -> bool:
        """Every allowed version is older than this one."""
        return self.below is not None and self.below <= version

    def all_from(self, version: Version) -> bool:
        """Every allowed version is this one or newer."""
        return self.at_least is not None and self.at_least >= version
