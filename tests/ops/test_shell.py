"""What every staff page has around it."""

from typing import Any

import pytest
from django.test import Client as HttpClient

from tests.ops.browsing import text

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize("path", ["/ops/", "/ops/orders/", "/ops/queues/", "/ops/settings/"])
def test_each_page_says_which_installation_it_belongs_to(
    path: str, hana: HttpClient, settings: Any
) -> None:
    settings.ENVIRONMENT_NAME, settings.ENVIRONMENT_COLOR = "<staging>", "red"
    assert '<p class="where red">&lt;staging&gt;</p>' in text(hana, path)
