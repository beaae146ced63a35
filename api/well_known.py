"""/.well-known/webhooks/{endpoint}/jwks.json: the public keys that verify an endpoint's webhooks.

Whoever knows the endpoint's id, which is random, may read them; no list of endpoints is anywhere.
"""

from uuid import UUID

from django.conf import settings
from django.http import Http404, HttpRequest, JsonResponse
from django.views.decorators.http import require_safe

from notifications.models import Endpoint


@require_safe
def webhook_keys(request: HttpRequest, endpoint_id: UUID) -> JsonResponse:
    """A JWKS (RFC 7517), the newest key first. Raises Http404 for an endpoint that was removed."""
    endpoint = Endpoint.objects.filter(pk=endpoint_id, active=True).first()
    if endpoint is None:
        raise Http404
    return JsonResponse(
        {"keys": [key.jwk for key in endpoint.keys]},
        content_type="application/jwk-set+json",
        headers={"Cache-Control": f"public, max-age={settings.WEBHOOK_KEYS_MAX_AGE_S}"},
    )
