"""What a kind of JSON file holds, as a class with bounds, and the check of a value against it.

    class Window(Record):
        steps: int = Field(ge=0)
        seconds: float = Field(ge=0)

Types are strict: true is no number, 3.0 no integer, "3" neither. Numbers are finite. Keys that the
class does not name are kept as they are: fields are added to files, never renamed.
"""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

Count = Annotated[int, Field(ge=0)]
"""A number of things, or the index of one."""
Amount = Annotated[float, Field(ge=0)]
"""Minutes, seconds, metres: what cannot be negative."""
Text = Annotated[str, Field(min_length=1)]


class Record(BaseModel):
    """Base class of what files hold. Values stay plain data: a record only checks them."""

    model_config = ConfigDict(strict=True, extra="allow", allow_inf_nan=False)

    @classmethod
    def check(cls, value: Any) -> Self:
        """The record of `value`; ValueError says the first thing that is wrong with it."""
        try:
            return cls.model_validate(value)
        except ValidationError as error:
            raise ValueError(_sentence(error)) from error


class Hardware(Record):
    """What files say about the machine that made them (`para.system.hardware`)."""

    platform: str | None = None
    cpu: str | None = None
    cores: Count | None = None
    memory_gb: Amount | None = None
    gpus: list[str] | None = None
    threads: Count | None = None


def _sentence(error: ValidationError) -> str:
    """As in: episodes.3.steps is -5: input should be greater than or equal to 0 (and 2 more)."""
    first = error.errors(include_url=False)[0]
    path = [str(part) for part in first["loc"]]
    where = ".".join(path if len(path) <= 8 else [*path[:4], "...", *path[-3:]])
    count = error.error_count() - 1
    more = f" (and {count} more)" if count else ""
    if first["type"] == "missing":
        return f"{where} is missing{more}"
    if first["type"] == "value_error":  # a rule of ours
        return f"{where}: {first['ctx']['error']}{more}" if where else f"{first['ctx']['error']}"
    found = repr(first["input"])
    found = found if len(found) <= 60 else f"{found[:60]}..."
    reason = first["msg"][0].lower() + first["msg"][1:]
    return f"{where or 'it'} is {found}: {reason}{more}"
