"""What a session can be exported to."""

from __future__ import annotations

from typing import Literal

Target = Literal["csv", "parquet", "tensorboard", "perfetto", "memory-viz", "html"]
