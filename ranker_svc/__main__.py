"""Starts the ranker: `python -m ranker_svc`."""

from ranker_svc.app import create_app
from ranker_svc.engines.protocol import EngineStartError
from ranker_svc.settings import Settings
from services.calibration import CalibrationError
from services.web.server import run


def main() -> None:
    """Serve until a signal arrives; requests in flight may end within the grace time, then the engine is closed."""
    run(create_app, Settings, service="ranker", expected=(EngineStartError, CalibrationError))


if __name__ == "__main__":
    main()
