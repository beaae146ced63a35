"""A text that everybody gets alike: compressed once, and not sent again to whoever has it."""

import gzip
import hashlib

from django.http import HttpRequest, HttpResponse
from django.utils.cache import get_conditional_response, patch_vary_headers


class Kept:
    """Compressing is safe here only: nothing that a caller sends is in the text, and no secret, so
    its length tells nothing (BREACH).
    """

    def __init__(self, text: str) -> None:
        self.plain = text.encode()
        self.compressed = gzip.compress(self.plain, mtime=0)
        self.etag = f'W/"{hashlib.sha256(self.plain).hexdigest()[:32]}"'  # of both forms

    def answered(self, request: HttpRequest, content_type: str) -> HttpResponse:
        """304 to whoever knows it. Kept by whoever likes, and asked for again before it is used."""
        takes_gzip = _takes_gzip(request.headers.get("Accept-Encoding", ""))
        content = self.compressed if takes_gzip else self.plain
        response = HttpResponse(content, content_type=content_type)
        if takes_gzip:
            response["Content-Encoding"] = "gzip"
        response["Content-Length"] = str(len(content))
        response["ETag"], response["Cache-Control"] = self.etag, "no-cache"
        patch_vary_headers(response, ["Accept-Encoding"])
        return get_conditional_response(request, etag=self.etag, response=response) or response


def _takes_gzip(accepted: str) -> bool:
    """Named, and not with a weight of 0."""
    for coding in accepted.split(","):
        name, _, weight = coding.partition(";")
        if name.strip().lower() == "gzip":
            return weight.replace(" ", "").rstrip("0.") != "q="  # q=0, q=0.0 and their like
    return False
