"""The bundled weights, each with its card."""
