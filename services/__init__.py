"""What the services and the lab share: the platform, the contracts, and the domain of the cascade."""
