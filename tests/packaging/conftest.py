"""The three images, each built once: the role's packages and extra in an environment of their own."""

from collections.abc import Callable
from functools import cache

import pytest

from tests.packaging.image import Image, build


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Image]:
    """Gives the image of a role; building one takes from 20 s to some minutes."""

    @cache
    def make(role: str) -> Image:
        return build(role, tmp_path_factory.mktemp(role))

    return make
