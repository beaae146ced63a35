"""An app whose every migration but the first would break the release that still runs beside it."""
