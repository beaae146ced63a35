"""Which installation a staff page belongs to."""

from django import template
from django.conf import settings

register = template.Library()


@register.simple_tag
def environment() -> dict[str, str]:
    """{% environment as where %}: where.name, where.color."""
    return {"name": settings.ENVIRONMENT_NAME, "color": settings.ENVIRONMENT_COLOR}
