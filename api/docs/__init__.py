"""/v1/docs and /v1/openapi.json: what the API is, for people and for programs."""
