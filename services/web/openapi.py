"""What FastAPI cannot see of a route: its multipart or JSON body, its query and its deadline header."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from pydantic import BaseModel

from services.web.deadlines import deadline_parameter


def upload_operation(
    model: type[BaseModel],
    *,
    required: bool = True,
    description: str | None = None,
    example: Any = None,
    instead_of_video: str | None = None,
    part: Mapping[str, Any] | None = None,
    bodies: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """The `openapi_extra` of a route that takes a video and, as JSON, a `model`.

    Args:
        model: of the part `request`; it must not contain itself.
        required: whether that part must be sent.
        description: of that part; the model's own where it is None.
        example: of that part.
        instead_of_video: field of the model that names a video elsewhere; with it, the model may be a whole JSON body.
        part: schema of that part where it takes less than the model; see `narrowed`.
        bodies: schemas of what may be sent as a whole JSON body instead of a video, one of which it has to be.
    """
    request = dict(part or inlined(model))
    if description is not None:
        request["description"] = description
    parts = {"video": {"type": "string", "format": "binary", "description": "The video file."}, "request": request}
    needed = ["video", "request"] if required else ["video"]
    form: dict[str, Any] = {
        "schema": {"type": "object", "required": needed, "properties": parts, "additionalProperties": False},
        "encoding": {"request": {"contentType": "application/json"}},
    }
    if example is not None:
        request["examples"] = [example]
    content = {"multipart/form-data": form}
    if instead_of_video is not None:
        schema = inlined(model)
        schema["properties"][instead_of_video] = _not_null(request["properties"].pop(instead_of_video))
        content["application/json"] = {"schema": {**schema, "required": [instead_of_video]}}
    if bodies:
        content["application/json"] = {"schema": bodies[0] if len(bodies) == 1 else {"oneOf": list(bodies)}}
    return {
        "requestBody": {"required": True, "content": content},
        "parameters": [deadline_parameter()],
    }


def json_operation(model: type[BaseModel], *parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The `openapi_extra` of a route that reads a `model` as its JSON body; it must not contain itself.

    Args:
        model: of the body.
        parameters: of the operation, beside the deadline.
    """
    content = {"application/json": {"schema": inlined(model)}}
    return {"requestBody": {"required": True, "content": content}, "parameters": [deadline_parameter(), *parameters]}


def query_parameters(model: type[BaseModel]) -> list[dict[str, Any]]:
    """The fields of a model as parameters of the query, in OpenAPI; `services.web.parse_query` reads them."""
    schema = inlined(model)
    required = schema.get("required", [])
    return [
        {
            "name": name,
            "in": "query",
            "required": name in required,
            "description": field.get("description", ""),
            "schema": {key: value for key, value in _not_null(field).items() if key != "description"},
        }
        for name, field in schema["properties"].items()
    ]


def narrowed(
    model: type[BaseModel], properties: Mapping[str, Mapping[str, Any] | None], *, required: Sequence[str] = ()
) -> dict[str, Any]:
    """The schema of a model of which not everything is taken.

    Args:
        model: must not contain itself.
        properties: by name, what replaces in the schema of a field; None: the field must be null or absent.
        required: fields that must be there and not null, beside those of the model.
    """
    schema = inlined(model)
    fields = schema["properties"]
    for name in required:
        fields[name] = {key: value for key, value in _not_null(fields[name]).items() if key != "default"}
    for name, change in properties.items():
        fields[name] = {"type": "null"} if change is None else {**fields[name], **change}
    return {**schema, "required": sorted({*schema.get("required", ()), *required})}


def inlined(model: type[BaseModel]) -> dict[str, Any]:
    """The JSON schema of a model without references, which would point at nothing inside an OpenAPI operation."""
    schema = model.model_json_schema()
    definitions = schema.pop("$defs", {})

    def resolve(node: Any) -> Any:
        if isinstance(node, list):
            return [resolve(item) for item in node]
        if not isinstance(node, dict):
            return node
        rest = {key: resolve(value) for key, value in node.items() if key != "$ref"}
        if "$ref" not in node:
            return rest
        return {**resolve(definitions[node["$ref"].rsplit("/", 1)[1]]), **rest}

    return cast("dict[str, Any]", resolve(schema))


def _not_null(field: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of a field without the null that stands for its absence."""
    if "anyOf" not in field:
        return dict(field)
    named = {name: value for name, value in field.items() if name not in {"anyOf", "default"}}
    return {**named, **next(choice for choice in field["anyOf"] if choice["type"] != "null")}
