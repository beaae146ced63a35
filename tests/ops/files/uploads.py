"""The page on which staff give a file."""

import re

NEW = "/ops/files/imports/new/"


def hidden(page: str) -> dict[str, str]:
    """The seal of the file that was looked at, and the id of the form."""
    return dict(re.findall(r'name="(seal|form_id)" value="([^"]+)"', page))
