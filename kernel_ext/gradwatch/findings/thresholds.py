"""From where on something is a finding. Each default says where it comes from; all can be set."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What `find` takes as wrong. A field's comment gives its unit and its source."""
