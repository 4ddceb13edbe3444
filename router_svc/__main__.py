"""Starts the router: `python -m router_svc`."""


def main() -> None:
    """Serve until a signal arrives; requests in flight may end within the grace time."""
    from router_svc.app import create_app
    from router_svc.assets import AssetError
    from router_svc.decode_processes import StartFailed
    from router_svc.settings import Settings
    from services.web.server import run

    run(create_app, Settings, service="router", expected=(AssetError, StartFailed))


if __name__ == "__main__":
    main()
