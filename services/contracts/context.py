"""The text that comes with a video. All of it is written by strangers and treated as hostile (services.prompts)."""

from typing import Annotated

from pydantic import Field, StringConstraints

from services.contracts.base import RequestModel

Tag = Annotated[str, StringConstraints(max_length=100)]
MetadataKey = Annotated[str, StringConstraints(min_length=1, max_length=64)]
MetadataValue = Annotated[str, StringConstraints(max_length=1_000)]


class Context(RequestModel):
    """What the uploader or the platform says about a video."""

    title: str = Field(default="", max_length=1_000, description="Title, at most 1,000 characters.")
    description: str = Field(default="", max_length=10_000, description="Description, at most 10,000 characters.")
    tags: tuple[Tag, ...] = Field(default=(), max_length=64, description="At most 64 tags of 100 characters.")
    language: str | None = Field(
        default=None, pattern=r"^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$", max_length=35, description="BCP 47 language tag."
    )
    uploader_id: str | None = Field(default=None, max_length=256, description="The platform's id of the uploader.")
    metadata: dict[MetadataKey, MetadataValue] = Field(
        default_factory=dict,
        max_length=64,
        description="Free metadata, kept with the decision; never shown to a model.",
    )
