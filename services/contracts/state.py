"""What the router says of itself, so that the gateway knows under which conditions an earlier result still holds."""

from pydantic import Field

from services.contracts.base import ResultModel
from services.contracts.rank import ModelIdentity


class RouterState(ResultModel):
    """Everything beside the video and the request that shapes a RouteResult, as it is now."""

    encoder: str = Field(description="Fingerprint of the encoder.")
    bank_revision: str = Field(description="Changes whenever the searchable seeds change.")
    configuration: str = Field(
        min_length=1, description="Hash of every setting, file and version of the router that can change a result."
    )
    ranker: ModelIdentity | None = Field(
        default=None, description="Of the ranker pool; null where none answers, or replicas differ."
    )
