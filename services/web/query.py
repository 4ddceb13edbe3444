"""The query of a request as a model, read as strictly as bodies are."""

from collections import Counter
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from services.errors import MalformedRequest
from services.web.problems import field_problems

M = TypeVar("M", bound=BaseModel)


def parse_query(request: Request, model: type[M]) -> M:
    """The model whose fields the parameters of the query are.

    Raises:
        MalformedRequest: a parameter is wrong, unknown, missing, or given twice.
    """
    items = request.query_params.multi_items()
    repeated = [name for name, count in Counter(name for name, _ in items).items() if count > 1]
    if repeated:
        raise MalformedRequest(f"query/{repeated[0][:100]}: given more than once.")
    try:
        return model.model_validate(dict(items))
    except ValidationError as error:
        problems = field_problems(error.errors(include_url=False, include_context=False), prefix="query")
        raise MalformedRequest(f"{problems[0].pointer}: {problems[0].detail}.", errors=problems) from error
