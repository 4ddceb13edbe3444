"""Renders docs/api/*.openapi.json from the services' code; `python -m tests.unit.docs.openapi` writes them there."""

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from fastapi import FastAPI
from pydantic import SecretStr

import gateway.app
import gateway.settings
import ranker_svc.app
import ranker_svc.settings
import router_svc.app
import router_svc.settings
from services.api_keys import digest_of
from tests.unit.docs.tables import DOCS, ROOT

TOKEN = SecretStr("of the documentation")
KEYS = f"""- id: documentation
  sha256: "{digest_of("of the documentation")}"
  scopes: [decide]
"""


def _gateway() -> FastAPI:
    with TemporaryDirectory() as directory:
        keys = Path(directory) / "keys.yaml"
        keys.write_text(KEYS, encoding="utf-8")
        return gateway.app.create_app(gateway.settings.Settings(api_keys_path=keys))


def _router() -> FastAPI:
    return router_svc.app.create_app(router_svc.settings.Settings(service_token=TOKEN))


def _ranker() -> FastAPI:
    return ranker_svc.app.create_app(ranker_svc.settings.Settings(service_token=TOKEN))


APPS: dict[str, Callable[[], FastAPI]] = {"gateway": _gateway, "router": _router, "ranker": _ranker}
"""Each as it is deployed, with a token or keys: then the document says where one is needed."""


def path_of(service: str) -> Path:
    """Where the service's document stands."""
    return DOCS / "api" / f"{service}.openapi.json"


def document(service: str) -> str:
    """The service's OpenAPI document: sorted, indented, with the version of pyproject.toml, not the installed one."""
    schema = APPS[service]().openapi()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    schema["info"]["version"] = project["version"]
    return json.dumps(schema, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def write() -> None:
    """Write all three."""
    for service in APPS:
        path_of(service).write_text(document(service), encoding="utf-8")


if __name__ == "__main__":
    write()
