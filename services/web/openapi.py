"""What FastAPI cannot see of an upload route: its multipart body and its deadline header."""

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
) -> dict[str, Any]:
    """The `openapi_extra` of a route that takes a video and, as JSON, a `model`.

    Args:
        model: of the part `request`; it must not contain itself.
        required: whether that part must be sent.
        description: of that part; the model's own where it is None.
        example: of that part.
        instead_of_video: field of the model that names a video elsewhere; with it, the model may be a whole JSON body.
    """
    request = inlined(model) if description is None else {**inlined(model), "description": description}
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
        field = request["properties"].pop(instead_of_video)
        named = {name: value for name, value in field.items() if name not in {"anyOf", "default"}}
        named |= next(choice for choice in field["anyOf"] if choice["type"] != "null")
        schema["properties"][instead_of_video] = named
        content["application/json"] = {"schema": {**schema, "required": [instead_of_video]}}
    return {
        "requestBody": {"required": True, "content": content},
        "parameters": [deadline_parameter()],
    }


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
