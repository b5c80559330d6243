"""Of mechanical.py: functions that no decoder runs, and faults that no stream can show."""

from __future__ import annotations

ENCODER_ONLY: set[str] = set()
EQUIVALENT: dict[str, str] = {}
