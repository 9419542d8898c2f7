"""Base class of the sections of the configuration."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """An immutable part of the tree; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
