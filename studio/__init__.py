"""AIO Studio: pictures and videos with open models, from nine modes."""

__version__ = "0.1.0"
