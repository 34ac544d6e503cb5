"""OpenAPI documents of what izin serves."""
