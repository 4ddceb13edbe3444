"""`python -m gateway`: serves the public API with the settings of the environment."""

from gateway.app import create_app
from gateway.cache import CacheUrlError
from gateway.settings import Settings
from services.api_keys import KeysError
from services.database import StoreUrlError
from services.policy import PolicyError
from services.storage import StorageUrlError
from services.web.server import run


def main() -> None:
    """Serve until SIGTERM or SIGINT; decisions in flight may end within the grace time."""
    run(
        create_app,
        Settings,
        service="gateway",
        expected=(PolicyError, KeysError, StoreUrlError, CacheUrlError, StorageUrlError),
    )


if __name__ == "__main__":
    main()
