"""Records: read strictly, written as JSON."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from pydantic import BaseModel, ConfigDict


class Strict(BaseModel):
    """A record in which an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def as_json(record: Any) -> dict[str, Any]:
    """A dataclass or pydantic record as JSON values; what JSON has not becomes text."""
    fields = record.model_dump(mode="json") if hasattr(record, "model_dump") else dataclasses.asdict(record)
    values: dict[str, Any] = json.loads(json.dumps(fields, default=str))
    return values
